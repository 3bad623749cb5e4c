{{- define "meterstream.labels" -}}
app.kubernetes.io/name: meterstream
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}
{{- define "meterstream.selector" -}}
app.kubernetes.io/name: meterstream
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
{{- define "meterstream.scheme" -}}
{{ if .Values.tls.secretName }}https{{ else }}http{{ end }}
{{- end -}}
