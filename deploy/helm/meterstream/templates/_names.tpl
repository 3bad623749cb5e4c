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
{{- define "meterstream.webhooks" -}}
app.kubernetes.io/name: meterstream-webhooks
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
{{- /* What pods of workers and of webhooks have alike. */ -}}
{{- define "meterstream.pod" -}}
automountServiceAccountToken: false
terminationGracePeriodSeconds: 60
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
# A Service named meter-… would set METER_… of every pod of the namespace.
enableServiceLinks: false
{{- end -}}
{{- define "meterstream.container" -}}
image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}
{{- define "meterstream.env" -}}
- {name: METER_PROFILE, value: production}
- {name: METER_KAFKA_BOOTSTRAP_SERVERS, value: {{ join "," .Values.kafka.bootstrapServers | quote }}}
- {name: METER_HTTP_HOST, value: "0.0.0.0"}
- {name: METER_STATE_DIR, value: /var/lib/meterstream}
- {name: METER_LOG_FORMAT, value: json}
{{- if .Values.webhooks.enabled }}
- {name: METER_WEBHOOK_PRIVATE_KEY_FILE, value: /etc/meterstream/webhooks/key.pem}
{{- end }}
{{- end -}}
{{- define "meterstream.settings" -}}
{{- range $name, $value := .Values.settings }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end -}}
{{- define "meterstream.claim" -}}
- metadata:
    name: state
  spec:
    accessModes: [ReadWriteOnce]
    {{- with .storage.className }}
    storageClassName: {{ . }}
    {{- end }}
    resources:
      requests:
        storage: {{ .size }}
{{- end -}}
{{- define "meterstream.monitoring" -}}
from:
  {{- with .Values.networkPolicy.monitoring }}
  {{- toYaml . | nindent 2 }}
  {{- else }}
  - podSelector: {}
  {{- end }}
ports:
  - {port: admin, protocol: TCP}
{{- end -}}
