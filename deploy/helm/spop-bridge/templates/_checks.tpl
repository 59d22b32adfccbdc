{{/* Values that cannot work, said before anything is installed. Each message names the value, why, and what to do. */}}

{{- define "spop-bridge.checks" -}}
{{- include "spop-bridge.checkBackends" . -}}
{{- include "spop-bridge.checkPorts" . -}}
{{- include "spop-bridge.checkDrain" . -}}
{{- include "spop-bridge.checkTLS" . -}}
{{- include "spop-bridge.checkScale" . -}}
{{- end -}}

{{- define "spop-bridge.checkBackends" -}}
{{- if not .Values.config.backends -}}
{{- fail "config.backends is missing: who decides? For example --set 'config.backends.decisions.endpoints={dns:///decisions:50051}'" -}}
{{- end -}}
{{- range $name, $backend := .Values.config.backends -}}
{{- if not $backend.endpoints -}}
{{- fail (printf "config.backends.%s.endpoints is missing: list at least one, such as dns:///decisions:50051" $name) -}}
{{- end -}}
{{- if and (eq $.Values.mode "sidecar") (eq (toString $backend.required) "true") -}}
{{- fail (printf "config.backends.%s.required must be false in sidecar mode: readiness counts for the whole pod, so that one bad decision service would take every HAProxy out of its Service. Choose what happens then with config.on_failure." $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "spop-bridge.checkPorts" -}}
{{- $admin := int .Values.ports.admin -}}
{{- if eq (int .Values.ports.spop) $admin -}}
{{- fail "ports.spop and ports.admin must differ" -}}
{{- end -}}
{{- with (default dict .Values.config.admin).bind -}}
{{- if and (not (contains "${" .)) (or (not (hasSuffix (printf ":%d" $admin) .)) (hasPrefix "127." .) (hasPrefix "localhost:" .) (hasPrefix "[::1]" .)) -}}
{{- fail (printf "config.admin.bind is %s, where the probes do not find it: leave it out, or let it be an address of the pod with the port of ports.admin (%d)" . $admin) -}}
{{- end -}}
{{- end -}}
{{- if .Values.config.listeners -}}
{{- $found := .Values.tls.listener.enabled -}}
{{- range .Values.config.listeners -}}
{{- if include "spop-bridge.isTheListener" (list $ .bind) -}}{{- $found = true -}}{{- end -}}
{{- end -}}
{{- if not $found -}}
{{- $socket := include "spop-bridge.socket" . -}}
{{- fail (printf "config.listeners has none with a bind that ends in %s, where HAProxy is told to connect: leave listeners out, or add one" (ternary (printf "unix:%s" $socket) (printf ":%d" (int .Values.ports.spop)) (ne $socket ""))) -}}
{{- end -}}
{{- end -}}
{{- range $i, $listener := include "spop-bridge.listeners" . | fromJsonArray -}}
{{- with $listener.tls -}}
{{- if not (and .certificate .key) -}}
{{- fail (printf "the listener at %s has tls without a certificate and a key: name them, or enable tls.listener, which gives them to the listener at ports.spop (%d)" $listener.bind (int $.Values.ports.spop)) -}}
{{- end -}}
{{- if and .allowed_sans (not .client_ca) -}}
{{- fail (printf "the listener at %s has allowed SANs, but asks HAProxy for no certificate: set tls.listener.clientCertificates, or client_ca" $listener.bind) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "spop-bridge.checkDrain" -}}
{{- $drain := merge (deepCopy (default dict .Values.config.drain)) (fromYaml (include "spop-bridge.drain" .)) -}}
{{- $delay := include "spop-bridge.milliseconds" $drain.delay -}}
{{- $grace := include "spop-bridge.milliseconds" $drain.grace_period -}}
{{- if and $delay $grace -}}
{{- $needed := add (int $delay) (int $grace) 2000 -}}
{{- $parts := printf "config.drain.delay (%s), config.drain.grace_period (%s) and 2 s for telemetry" $drain.delay $drain.grace_period -}}
{{- if eq .Values.mode "sidecar" -}}
{{- $needed = add $needed (mul 1000 (int .Values.haproxy.preStopSeconds)) (mul 1000 (int .Values.haproxy.hardStopAfterSeconds)) -}}
{{- $parts = printf "haproxy.preStopSeconds (%d), haproxy.hardStopAfterSeconds (%d), %s" (int .Values.haproxy.preStopSeconds) (int .Values.haproxy.hardStopAfterSeconds) $parts -}}
{{- end -}}
{{- if ge $needed (mul 1000 (int .Values.terminationGracePeriodSeconds)) -}}
{{- fail (printf "terminationGracePeriodSeconds is %d, but %s take %d ms: decisions would be cut off by SIGKILL. Raise it, or shorten those." (int .Values.terminationGracePeriodSeconds) $parts $needed) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "spop-bridge.checkTLS" -}}
{{- $tls := .Values.tls -}}
{{- $made := .Values.certManager.enabled -}}
{{- range $side := list "listener" "client" -}}
{{- $one := index $tls $side -}}
{{- if and $one.enabled (not $one.secretName) (not $made) -}}
{{- fail (printf "tls.%s needs a Secret: name it in tls.%s.secretName, or have cert-manager make it with certManager.enabled" $side $side) -}}
{{- end -}}
{{- end -}}
{{- if and $tls.listener.enabled (include "spop-bridge.socket" .) -}}
{{- fail "tls.listener.enabled is for TCP: HAProxy reaches the bridge by a Unix socket here" -}}
{{- end -}}
{{- if and $tls.listener.allowedSans (not $tls.listener.enabled) -}}
{{- fail "tls.listener.allowedSans is about HAProxy's certificate, but tls.listener.enabled is false: anybody who reaches the port could ask" -}}
{{- end -}}
{{- if $made -}}
{{- if not .Values.certManager.issuerRef.name -}}
{{- fail "certManager.issuerRef.name is missing: the Issuer or ClusterIssuer that signs" -}}
{{- end -}}
{{- if not (or (and $tls.listener.enabled (not $tls.listener.secretName)) (and $tls.client.enabled (not $tls.client.secretName))) -}}
{{- fail "certManager.enabled has nothing to do: enable tls.listener or tls.client without a secretName" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "spop-bridge.checkScale" -}}
{{- if .Values.autoscaling.enabled -}}
{{- if eq .Values.mode "daemonset" -}}
{{- fail "autoscaling.enabled is not for daemonset mode: there is one pod on each node" -}}
{{- end -}}
{{- if gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas) -}}
{{- fail "autoscaling.minReplicas is above autoscaling.maxReplicas" -}}
{{- end -}}
{{- $resources := ternary .Values.haproxy.resources .Values.resources (eq .Values.mode "sidecar") -}}
{{- if not (dig "requests" "cpu" "" $resources) -}}
{{- fail (printf "autoscaling.enabled needs a CPU request to measure by: %s" (ternary "haproxy.resources.requests.cpu" "resources.requests.cpu" (eq .Values.mode "sidecar"))) -}}
{{- end -}}
{{- end -}}
{{- if and (eq .Values.mode "sidecar") (not .Values.haproxy.create) -}}
{{- range list "autoscaling" "podMonitor" "serviceMonitor" -}}
{{- if (index $.Values .).enabled -}}
{{- fail (printf "%s.enabled is about pods, and with haproxy.create=false the pods are those of another chart: it goes there" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.podMonitor.enabled .Values.serviceMonitor.enabled -}}
{{- fail "podMonitor.enabled and serviceMonitor.enabled would scrape everything twice: choose one" -}}
{{- end -}}
{{- end -}}
