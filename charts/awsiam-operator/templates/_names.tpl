{{- /* The name of every namespaced object: the release's, which is awsiam-operator unless it is chosen otherwise. */ -}}
{{- define "awsiam.name" -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- /* Roles lie outside of the release's namespace, so their name carries it: releases in two namespaces may share a
cluster. */ -}}
{{- define "awsiam.rights" -}}
{{- printf "%s:%s" .Release.Namespace (include "awsiam.name" .) -}}
{{- end -}}

{{- define "awsiam.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "awsiam.name" .) -}}
{{- end -}}

{{- define "awsiam.image" -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}

{{- define "awsiam.selector" -}}
app.kubernetes.io/name: awsiam-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "awsiam.labels" -}}
{{ include "awsiam.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}
