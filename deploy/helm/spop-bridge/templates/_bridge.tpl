{{/* The bridge's container, which is the same in every mode but for its restartPolicy. */}}

{{- define "spop-bridge.container" -}}
name: bridge
image: {{ include "spop-bridge.image" (list .Values.image .Chart.AppVersion) }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- if eq .Values.mode "sidecar" }}
# A native sidecar: it starts before the other containers, and stops after them.
restartPolicy: Always
{{- end }}
args: [run, --config, /etc/spop-bridge/bridge.yaml]
ports:
  {{- if not (include "spop-bridge.socket" .) }}
  - name: spop
    containerPort: {{ .Values.ports.spop }}
    {{- if and (eq .Values.mode "daemonset") (eq .Values.daemonSet.expose "hostPort") }}
    hostPort: {{ .Values.ports.spop }}
    {{- end }}
    protocol: TCP
  {{- end }}
  - name: admin
    containerPort: {{ .Values.ports.admin }}
    protocol: TCP
{{- with include "spop-bridge.env" . | trim }}
env:
  {{- . | nindent 2 }}
{{- end }}
{{- with .Values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if eq .Values.mode "sidecar" }}
# HAProxy's container starts when this has succeeded: the bridge listens. It says nothing about decision services.
startupProbe:
  httpGet: { path: /ready, port: admin }
{{- else }}
# Not /ready, which also waits for a backend that is `required`: no restart would help that.
startupProbe:
  httpGet: { path: /live, port: admin }
{{- end }}
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet: { path: /live, port: admin }
  periodSeconds: 10
  timeoutSeconds: 2
  failureThreshold: 3
readinessProbe:
  httpGet: { path: /ready, port: admin }
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 2
{{- with .Values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
volumeMounts:
  # The whole folder: with subPath the file would never change, and the bridge watches it.
  - name: bridge-config
    mountPath: /etc/spop-bridge
    readOnly: true
  {{- if include "spop-bridge.socket" . }}
  - name: bridge-socket
    mountPath: /run/spop-bridge
  {{- end }}
  {{- if .Values.tls.listener.enabled }}
  - name: bridge-listener-tls
    mountPath: /etc/spop-bridge-tls/listener
    readOnly: true
  {{- end }}
  {{- if .Values.tls.client.enabled }}
  - name: bridge-client-tls
    mountPath: /etc/spop-bridge-tls/client
    readOnly: true
  {{- end }}
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* Variables. Those that others refer to as $(NAME) come first: the kubelet knows only what stands before. */}}
{{- define "spop-bridge.env" -}}
{{- $variables := dict -}}
{{- if .Values.otel.endpoint -}}
{{- $attributes := list "k8s.namespace.name=$(POD_NAMESPACE)" "k8s.pod.name=$(POD_NAME)" "k8s.pod.uid=$(POD_UID)" "k8s.node.name=$(NODE_NAME)" "k8s.container.name=bridge" "service.instance.id=$(POD_NAMESPACE).$(POD_NAME).bridge" -}}
{{- range $name, $value := .Values.otel.resourceAttributes -}}
{{- $attributes = append $attributes (printf "%s=%s" $name $value) -}}
{{- end -}}
{{- $variables = dict "OTEL_EXPORTER_OTLP_ENDPOINT" .Values.otel.endpoint "OTEL_EXPORTER_OTLP_PROTOCOL" .Values.otel.protocol "OTEL_RESOURCE_ATTRIBUTES" (join "," $attributes) "OTEL_TRACES_SAMPLER" .Values.otel.sampler "OTEL_TRACES_SAMPLER_ARG" .Values.otel.samplerArg -}}
{{- end -}}
{{- $variables = merge (deepCopy .Values.otel.env) $variables -}}
{{- if $variables }}
- name: POD_NAMESPACE
  valueFrom: { fieldRef: { fieldPath: metadata.namespace } }
- name: POD_NAME
  valueFrom: { fieldRef: { fieldPath: metadata.name } }
- name: POD_UID
  valueFrom: { fieldRef: { fieldPath: metadata.uid } }
- name: NODE_NAME
  valueFrom: { fieldRef: { fieldPath: spec.nodeName } }
- name: HOST_IP
  valueFrom: { fieldRef: { fieldPath: status.hostIP } }
{{- range $name, $value := $variables }}
- name: {{ $name }}
  value: {{ $value | toString | quote }}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Volumes that the container mounts. */}}
{{- define "spop-bridge.volumes" -}}
- name: bridge-config
  configMap:
    name: {{ include "spop-bridge.fullname" . }}
{{- if include "spop-bridge.socket" . }}
- name: bridge-socket
  {{- if eq .Values.mode "sidecar" }}
  emptyDir: { medium: Memory, sizeLimit: 1Mi }
  {{- else }}
  hostPath: { path: {{ .Values.daemonSet.hostPath | quote }}, type: Directory }
  {{- end }}
{{- end }}
{{- if .Values.tls.listener.enabled }}
- name: bridge-listener-tls
  secret:
    secretName: {{ include "spop-bridge.listenerSecret" . }}
    defaultMode: 0440
{{- end }}
{{- if .Values.tls.client.enabled }}
- name: bridge-client-tls
  secret:
    secretName: {{ include "spop-bridge.clientSecret" . }}
    defaultMode: 0440
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/*
For charts that have HAProxy pods of their own and this chart as a dependency, with mode: sidecar and haproxy.create: false.
The context is the dependency's: (index .Subcharts "spop-bridge").

  initContainers:   {{ include "spop-bridge.sidecar" (index .Subcharts "spop-bridge") | nindent 2 }}
  volumes:          {{ include "spop-bridge.sidecarVolumes" (index .Subcharts "spop-bridge") | nindent 2 }}
  HAProxy's volumeMounts: {{ include "spop-bridge.sidecarVolumeMounts" (index .Subcharts "spop-bridge") | nindent 2 }}
*/}}
{{- define "spop-bridge.sidecar" -}}
{{- if ne .Values.mode "sidecar" -}}
{{- fail (printf "spop-bridge.sidecar is for mode: sidecar, but %s.mode is %s" .Chart.Name .Values.mode) -}}
{{- end -}}
- {{ include "spop-bridge.container" . | nindent 2 | trim }}
{{- end -}}

{{- define "spop-bridge.sidecarVolumes" -}}
{{- include "spop-bridge.volumes" . -}}
{{- end -}}

{{- define "spop-bridge.sidecarVolumeMounts" -}}
- name: bridge-socket
  mountPath: /run/spop-bridge
{{- end -}}
