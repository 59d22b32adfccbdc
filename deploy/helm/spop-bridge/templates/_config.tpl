{{/* The bridge's configuration: that of the values, and what follows from the way it is deployed. */}}

{{- define "spop-bridge.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $_ := set $config "listeners" (include "spop-bridge.listeners" . | fromJsonArray) -}}
{{- $_ := set $config "admin" (merge (default dict $config.admin) (dict "bind" (printf "%s:%d" .Values.bindAddress (int .Values.ports.admin)))) -}}
{{- $_ := set $config "drain" (merge (default dict $config.drain) (fromYaml (include "spop-bridge.drain" .))) -}}
{{- toYaml $config -}}
{{- end -}}

{{/*
The listeners, as JSON. That at `ports.spop`, or at the socket, is the chart's: it is added where the configuration has none, and gets the
certificate and the keys of `listener`, unless the configuration says something else.
*/}}
{{- define "spop-bridge.listeners" -}}
{{- $chart := deepCopy .Values.listener -}}
{{- $bind := printf "%s:%d" .Values.bindAddress (int .Values.ports.spop) -}}
{{- with include "spop-bridge.socket" . -}}
{{- $bind = printf "unix:%s" . -}}
{{- /* The group is that of the folder: fsGroup, which HAProxy has as well. */ -}}
{{- $chart = merge $chart (dict "unix" (dict "mode" "0660")) -}}
{{- end -}}
{{- with .Values.tls.listener -}}
{{- if .enabled -}}
{{- $tls := dict "certificate" "/etc/spop-bridge-tls/listener/tls.crt" "key" "/etc/spop-bridge-tls/listener/tls.key" -}}
{{- if .clientCertificates -}}{{- $_ := set $tls "client_ca" "/etc/spop-bridge-tls/listener/ca.crt" -}}{{- end -}}
{{- with .allowedSans -}}{{- $_ := set $tls "allowed_sans" . -}}{{- end -}}
{{- $chart = merge $chart (dict "tls" $tls) -}}
{{- end -}}
{{- end -}}
{{- $listeners := list -}}
{{- $found := false -}}
{{- range .Values.config.listeners -}}
{{- $listener := deepCopy . -}}
{{- if and (not $found) (include "spop-bridge.isTheListener" (list $ .bind)) -}}
{{- $found = true -}}
{{- $listener = merge $listener $chart -}}
{{- end -}}
{{- $listeners = append $listeners $listener -}}
{{- end -}}
{{- if not $found -}}
{{- $listeners = prepend $listeners (merge (dict "bind" $bind) $chart) -}}
{{- end -}}
{{- toJson $listeners -}}
{{- end -}}

{{/* Whether (list root bind) is where HAProxy is told to connect, as far as the chart can tell. */}}
{{- define "spop-bridge.isTheListener" -}}
{{- $root := index . 0 -}}
{{- $bind := index . 1 | toString -}}
{{- $socket := include "spop-bridge.socket" $root -}}
{{- if or (contains "${" $bind) (hasSuffix (ternary (printf "unix:%s" $socket) (printf ":%d" (int $root.Values.ports.spop)) (ne $socket "")) $bind) -}}true{{- end -}}
{{- end -}}

{{/*
How to stop, where the values do not say it. In pods of its own the bridge refuses health checks for 5 s first, above inter x fall of
HAProxy's `check` (1s x 2) and one `inter` more. As a sidecar it is told to stop when HAProxy has ended.
*/}}
{{- define "spop-bridge.drain" -}}
{{- if eq .Values.mode "sidecar" -}}
delay: 0s
grace_period: 3s
{{- else -}}
delay: 5s
grace_period: 10s
{{- end -}}
{{- end -}}

{{/* Milliseconds of a duration of the configuration; nothing for one that comes from a variable. */}}
{{- define "spop-bridge.milliseconds" -}}
{{- $text := toString . -}}
{{- if regexMatch "^[0-9]+(us|ms|s|m)$" $text -}}
{{- $number := regexFind "^[0-9]+" $text | int64 -}}
{{- $unit := regexFind "[a-z]+$" $text -}}
{{- if eq $unit "us" }}{{ div (add $number 999) 1000 }}{{ else }}{{ mul $number (index (dict "ms" 1 "s" 1000 "m" 60000) $unit) }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* HAProxy's `timeout processing`: above every route's timeout, because HAProxy's clock starts earlier. */}}
{{- define "spop-bridge.processingTimeout" -}}
{{- if .Values.haproxy.processingTimeout -}}
{{- .Values.haproxy.processingTimeout -}}
{{- else -}}
{{- $longest := ternary 0 50 (not (empty .Values.config.routes)) -}}
{{- range $i, $route := .Values.config.routes -}}
{{- $timeout := include "spop-bridge.milliseconds" (default "50ms" $route.timeout) -}}
{{- if not $timeout -}}
{{- fail (printf "haproxy.processingTimeout is missing: config.routes[%d].timeout is %s, so the chart cannot tell. Set it 50 ms above the longest timeout." $i $route.timeout) -}}
{{- end -}}
{{- $longest = max $longest (int $timeout) -}}
{{- end -}}
{{- printf "%dms" (add $longest 50) -}}
{{- end -}}
{{- end -}}
