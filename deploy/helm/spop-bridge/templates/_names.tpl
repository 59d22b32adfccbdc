{{/* Names and labels. */}}

{{- define "spop-bridge.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Short enough for the longest suffix, `-listener-tls`, within the 63 characters of a Service's name. */}}
{{- define "spop-bridge.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Name of the Deployment or DaemonSet. */}}
{{- define "spop-bridge.workload" -}}
{{- include "spop-bridge.fullname" . -}}{{- if eq .Values.mode "sidecar" -}}-haproxy{{- end -}}
{{- end -}}

{{- define "spop-bridge.serviceAccountName" -}}
{{- default (ternary (include "spop-bridge.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end -}}

{{/* DNS name of the bridge's Service, in full. */}}
{{- define "spop-bridge.host" -}}
{{- printf "%s.%s.svc.%s" (include "spop-bridge.fullname" .) .Release.Namespace .Values.clusterDomain -}}
{{- end -}}

{{- define "spop-bridge.selectorLabels" -}}
app.kubernetes.io/name: {{ include "spop-bridge.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "spop-bridge.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "spop-bridge.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* An image, from {repository, tag, digest} and the tag that is meant without one: (list image default). */}}
{{- define "spop-bridge.image" -}}
{{- $image := index . 0 -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (default (index . 1) $image.tag) -}}
{{- end -}}
{{- end -}}

{{/* Where the bridge listens by Unix socket, if it does. */}}
{{- define "spop-bridge.socket" -}}
{{- if or (eq .Values.mode "sidecar") (and (eq .Values.mode "daemonset") (eq .Values.daemonSet.expose "hostPath")) -}}
/run/spop-bridge/spop.sock
{{- end -}}
{{- end -}}

{{/* Secrets of certificates: given, or cert-manager's. */}}
{{- define "spop-bridge.listenerSecret" -}}
{{- default (printf "%s-listener-tls" (include "spop-bridge.fullname" .)) .Values.tls.listener.secretName -}}
{{- end -}}
{{- define "spop-bridge.clientSecret" -}}
{{- default (printf "%s-client-tls" (include "spop-bridge.fullname" .)) .Values.tls.client.secretName -}}
{{- end -}}

{{/* A file as a block of YAML, without blanks at the ends of empty lines. */}}
{{- define "spop-bridge.block" -}}
{{- regexReplaceAll "(?m)^ +$" (. | trim | indent 4) "" -}}
{{- end -}}
