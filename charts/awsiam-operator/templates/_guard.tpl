{{- /* Policies belong to the whole cluster: their name carries the release's namespace. */ -}}
{{- define "awsiam.guard" -}}
{{- printf "%s.%s.guard" (include "awsiam.name" .) .Release.Namespace -}}
{{- end -}}

{{- /* Which requests a policy of the guard is asked about. A deletion of a collection has no name. */ -}}
{{- define "awsiam.guardMatches" -}}
matchConstraints:
  namespaceSelector:
    matchLabels:
      kubernetes.io/metadata.name: kube-system
  resourceRules:
    - apiGroups: [""]
      apiVersions: [v1]
      resources: [configmaps]
      operations: {{ .operations }}
matchConditions:
  - name: is-aws-auth
    expression: request.name == 'aws-auth' || oldObject != null && oldObject.metadata.name == 'aws-auth'
  - name: is-nobody-exempt
    expression: >-
      !(request.userInfo.username in {{ prepend .guard.exemptUsers .operator | toJson }})
      && !(has(request.userInfo.groups) && request.userInfo.groups.exists(group, group in {{ .guard.exemptGroups | toJson }}))
{{- end -}}

{{- /* The texts before and after, and whether they are longer than the guard looks at. */ -}}
{{- define "awsiam.guardTexts" -}}
{{- range $key := list "Roles" "Users" }}
{{- range $when, $object := dict "old" "oldObject" "new" "object" }}
- name: {{ $when }}{{ $key }}
  expression: "has({{ $object }}.data) && 'map{{ $key }}' in {{ $object }}.data ? {{ $object }}.data['map{{ $key }}'] : ''"
{{- end }}
{{- end }}
- name: isTooLarge
  expression: "[variables.oldRoles, variables.newRoles, variables.oldUsers, variables.newUsers].exists(text, text.size() > {{ int .maxCharacters }})"
{{- end -}}
