{{/* What the pods of all modes have in common. */}}

{{/* (list . annotations): annotations of the chart's own, beside those of the values. */}}
{{- define "spop-bridge.podMetadata" -}}
{{- $annotations := index . 1 -}}
{{- with index . 0 -}}
{{- with merge (deepCopy .Values.podAnnotations) $annotations -}}
annotations:
  {{- toYaml . | nindent 2 }}
{{ end -}}
{{- /* Not all labels: the chart's version would roll out pods that have not changed. */ -}}
labels:
  {{- include "spop-bridge.selectorLabels" . | nindent 2 }}
  {{- with .Values.commonLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- with .Values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}
{{- end -}}

{{- define "spop-bridge.podSpec" -}}
serviceAccountName: {{ include "spop-bridge.serviceAccountName" . }}
automountServiceAccountToken: false
# A Service of the name spop-bridge would put variables SPOP_BRIDGE_... into the container, which are the bridge's own flags.
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if and .Values.topologySpreadConstraints (ne .Values.mode "daemonset") }}
topologySpreadConstraints:
  {{- range .Values.topologySpreadConstraints }}
  {{- $added := dict "labelSelector" (dict "matchLabels" (fromYaml (include "spop-bridge.selectorLabels" $))) "matchLabelKeys" (list "pod-template-hash") }}
  - {{ toYaml (merge (deepCopy .) $added) | nindent 4 | trim }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "spop-bridge.updateStrategy" -}}
{{- if .Values.updateStrategy -}}
{{- toYaml .Values.updateStrategy -}}
{{- else if eq .Values.mode "daemonset" -}}
type: RollingUpdate
rollingUpdate: { maxUnavailable: 1 }
{{- else -}}
type: RollingUpdate
rollingUpdate: { maxSurge: 1, maxUnavailable: 0 }
{{- end -}}
{{- end -}}
