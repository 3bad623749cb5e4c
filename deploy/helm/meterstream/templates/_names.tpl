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
{{- /* What no worker would start with, or never use: the schema sees each value alone. */ -}}
{{- define "meterstream.check" -}}
{{- if not (or .Values.tls.secretName .Values.trustedProxies) -}}
{{- fail "set tls.secretName to a Secret with tls.crt and tls.key, or trustedProxies to the addresses that end TLS before the workers: with neither, keys would travel in clear and no worker starts" -}}
{{- end -}}
{{- $partitions := int (default 0 .Values.settings.METER_RAW_PARTITIONS) -}}
{{- $most := .Values.replicas -}}
{{- if .Values.keda.enabled -}}
{{- $most = max .Values.replicas .Values.keda.maxReplicas -}}
{{- end -}}
{{- if and $partitions (gt (int $most) $partitions) -}}
{{- fail (printf "%d workers would share %d partitions (settings.METER_RAW_PARTITIONS), and no more than one folds each" (int $most) $partitions) -}}
{{- end -}}
{{- end -}}
