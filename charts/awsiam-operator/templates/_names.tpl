{{- /* The name of every namespaced object: the release's, which is awsiam-operator unless it is chosen otherwise. */ -}}
{{- define "awsiam.name" -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- /* Roles lie outside of the release's namespace, so their name carries it: releases in two namespaces may share a
cluster. */ -}}
{{- define "awsiam.rights" -}}
{{- printf "%s:%s" .Release.Namespace (include "awsiam.name" .) -}}
{{- end -}}

{{- /* Where the Cluster object lies that stands for this cluster. */ -}}
{{- define "awsiam.localNamespace" -}}
{{- .Values.localCluster.namespace | default .Release.Namespace -}}
{{- end -}}

{{- define "awsiam.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "awsiam.name" .) -}}
{{- end -}}

{{- define "awsiam.image" -}}
{{- $registry := (.Values.global).imageRegistry | default .Values.image.registry -}}
{{- $name := .Values.image.repository -}}
{{- if $registry }}{{- $name = printf "%s/%s" $registry $name }}{{- end -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $name .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- /* What a pod and a container need to be admitted by Pod Security's level restricted. */ -}}
{{- define "awsiam.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "awsiam.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "awsiam.pullSecrets" -}}
{{- with concat (((.Values.global).imagePullSecrets) | default list) .Values.imagePullSecrets | uniq }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* The spec with which the operator makes the local Cluster object. */ -}}
{{- define "awsiam.localSpec" -}}
{{- $local := .Values.localCluster -}}
{{- $refs := list -}}
{{- range $local.configs }}{{- $refs = append $refs (dict "kind" "AWSIamConfig" "name" .) }}{{- end -}}
{{- $spec := dict "identityProviderRefs" $refs -}}
{{- with $local.kubernetesVersion }}{{- $_ := set $spec "kubernetesVersion" . }}{{- end -}}
{{- if ne $local.mode "DaemonSet" }}{{- $_ := set $spec "iamAuthenticator" (dict "mode" $local.mode) }}{{- end -}}
{{- mergeOverwrite (deepCopy $local.spec) $spec | toJson -}}
{{- end -}}

{{- /* The operator's own resources, in the namespaces that it looks at. */ -}}
{{- define "awsiam.ownResources" -}}
# list, watch: the caches that every pass reads from.
# get: the direct read of one object whose generation is older than the recorded one.
# patch: finalizers (deletionPolicy Delete; an AWSIamConfig that a Cluster refers to), and a Cluster's annotations (how its
# API servers are set up; whether its target is getting a new image).
- apiGroups: [anywhere.eks.amazonaws.com]
  resources: [clusters, awsiamconfigs]
  verbs: [get, list, watch, patch]
# patch: conditions and findings, by server-side apply.
- apiGroups: [anywhere.eks.amazonaws.com]
  resources: [clusters/status, awsiamconfigs/status]
  verbs: [patch]
# create: an Event on a Cluster or AWSIamConfig, in its namespace. patch: the count of one that repeats.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}

{{- /* What remote Clusters need, by the Secrets' names where `names` says so. */ -}}
{{- define "awsiam.remoteRules" -}}
# get: the kubeconfig of a target, by the name that its Cluster gives.
- apiGroups: [""]
  resources: [secrets]
  {{- with .name }}
  resourceNames: ["{{ . }}-kubeconfig"]
  {{- end }}
  verbs: [get]
{{- if and .values.authenticator .own }}
# The CA of the authenticator and the kubeconfig that users log in with. get: what is there. create, patch: making and
# mending them by server-side apply. delete: taking them away with the authenticator.
- apiGroups: [""]
  resources: [secrets]
  {{- with .name }}
  resourceNames: ["{{ . }}-aws-iam-authenticator-ca", "{{ . }}-aws-iam-kubeconfig"]
  {{- end }}
  verbs: [get, create, patch, delete]
{{- end }}
{{- if .values.controlPlane }}
# get: which control plane Cluster API's Cluster of the same name has, and whether it is paused or going.
- apiGroups: [cluster.x-k8s.io]
  resources: [clusters]
  {{- with .name }}
  resourceNames: [{{ . | quote }}]
  {{- end }}
  verbs: [get]
# get: what is in the KubeadmControlPlane and how far its machines are. update: the conditional PUT by which file, flag and
# mount for its API servers come and go. Its name is Cluster API's to choose, so no name limits this.
- apiGroups: [controlplane.cluster.x-k8s.io]
  resources: [kubeadmcontrolplanes]
  verbs: [get, update]
{{- end }}
{{- end -}}

{{- define "awsiam.roleBinding" }}
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ include "awsiam.rights" .root }}:{{ .suffix }}
  namespace: {{ .namespace }}
  labels:
    {{- include "awsiam.labels" .root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ include "awsiam.rights" .root }}:{{ .suffix }}
subjects:
  - kind: ServiceAccount
    name: {{ include "awsiam.serviceAccount" .root }}
    namespace: {{ .root.Release.Namespace }}
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

{{- /* Of what is there during helm test alone. Its labels are not those by which the operator's pods are selected. */ -}}
{{- define "awsiam.testMetadata" -}}
labels:
  app.kubernetes.io/name: awsiam-operator-test
  app.kubernetes.io/instance: {{ .Release.Name }}
  app.kubernetes.io/managed-by: {{ .Release.Service }}
annotations:
  helm.sh/hook: test
  helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}
