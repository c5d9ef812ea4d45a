{{- /* The name of what belongs to the metrics. */ -}}
{{- define "awsiam.metrics" -}}
{{- printf "%s-metrics" (include "awsiam.name" . | trunc 55 | trimSuffix "-") -}}
{{- end -}}

{{- /* Name, namespace and labels of such an object, with more labels by which its reader finds it. */ -}}
{{- define "awsiam.metricsMetadata" -}}
name: {{ include "awsiam.metrics" .root }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "awsiam.labels" .root | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- /* How a monitor scrapes. */ -}}
{{- define "awsiam.metricsEndpoint" -}}
port: metrics
path: /metrics
{{- /* The labels namespace and name are those of Clusters. */}}
honorLabels: true
{{- with .interval }}
interval: {{ . }}
{{- end }}
{{- end -}}
