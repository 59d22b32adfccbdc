{{/*
Where pods may connect to, derived from the addresses that they are given. A rule too much is a door; a rule too few is an outage,
so what the chart cannot tell is refused, or open on its port.
*/}}

{{/*
The place of (list root url), as JSON: {to, port}. `to` is a NetworkPolicyPeer, or nothing for anywhere; `port` is 0 for any.
`none` is set where no rule is needed, `unknown` where a variable has the host, and `perhaps` is a peer that it may be as well.
*/}}
{{- define "spop-bridge.place" -}}
{{- $root := index . 0 -}}
{{- $url := index . 1 | toString | lower -}}
{{- $authority := regexReplaceAll "/.*$" (regexReplaceAll "^([a-z]+://|dns:(//[^/]*/)?)" (regexReplaceAll "^dns://[^/]*/" $url "") "") "" -}}
{{- $port := regexFind ":([0-9]+|\\$[{(][^})]*[})])$" $authority -}}
{{- $host := trimSuffix $port $authority | trimSuffix "." -}}
{{- $port = trimPrefix ":" $port -}}
{{- if not (regexMatch "^[0-9]*$" $port) -}}{{- $port = "" -}}{{- end -}}
{{- /* `name.namespace.svc`, with the cluster's domain or without; `_port._protocol.` in front is an SRV record. */ -}}
{{- $name := regexReplaceAll "^(_[^.]+[.])+" (trimSuffix (printf ".%s" (lower $root.Values.clusterDomain)) $host | trimSuffix ".cluster.local") "" -}}
{{- $namespace := trimSuffix ".svc" $name | splitList "." | last -}}
{{- $team := dict "podSelector" dict "namespaceSelector" (dict "matchLabels" (dict "kubernetes.io/metadata.name" $namespace)) -}}
{{- $place := dict "port" (int $port) -}}
{{- if or (hasPrefix "unix:" $url) (eq $host "localhost") (hasPrefix "127." $host) (eq $host "[::1]") -}}
{{- $place = dict "none" true -}}
{{- else if contains "${" $host -}}
{{- $_ := set $place "unknown" true -}}
{{- else if contains "$(" $host -}}
{{- else if regexMatch "^[0-9]+([.][0-9]+){3}$" $host -}}
{{- $_ := set $place "to" (dict "ipBlock" (dict "cidr" (printf "%s/32" $host))) -}}
{{- else if hasPrefix "[" $host -}}
{{- $_ := set $place "to" (dict "ipBlock" (dict "cidr" (printf "%s/128" (trimAll "[]" $host)))) -}}
{{- else if or (not (contains "." $name)) (regexMatch "^([^.]+[.])+[^.]+[.]svc$" $name) -}}
{{- $elsewhere := and (contains "." $name) (ne $namespace $root.Release.Namespace) -}}
{{- $_ := set $place "to" (ternary $team (dict "podSelector" dict) $elsewhere) -}}
{{- /* Policies see the pods' port. A Service with an address of its own may map it to another; one that DNS resolves to pods does not. */ -}}
{{- if not (hasPrefix "dns:" $url) -}}{{- $_ := set $place "port" 0 -}}{{- end -}}
{{- else if regexMatch "^[^.]+[.][^.]+$" $name -}}
{{- /* `name.namespace`, or a name outside: both. */ -}}
{{- $_ := set $place "perhaps" $team -}}
{{- end -}}
{{- toJson $place -}}
{{- end -}}

{{/* Rules for places, one for each destination with all of its ports: (list places ports). `ports` counts instead of theirs. */}}
{{- define "spop-bridge.rules" -}}
{{- $ports := index . 1 -}}
{{- $found := dict -}}
{{- range index . 0 -}}
{{- $key := toJson .to -}}
{{- $rule := default (dict "ports" list "any" false) (get $found $key) -}}
{{- with .to -}}{{- $_ := set $rule "to" (list .) -}}{{- end -}}
{{- if .port -}}{{- $_ := set $rule "ports" (append $rule.ports (int .port) | uniq) -}}{{- else -}}{{- $_ := set $rule "any" true -}}{{- end -}}
{{- $_ := set $found $key $rule -}}
{{- end -}}
{{- $rules := list -}}
{{- range $key := keys $found | sortAlpha -}}
{{- $rule := get $found $key -}}
{{- $wanted := ternary $rule.ports $ports (empty $ports) -}}
{{- $made := pick $rule "to" -}}
{{- if and $wanted (or $ports (not $rule.any)) -}}
{{- $list := list -}}
{{- range $wanted -}}{{- $list = append $list (dict "port" (int .) "protocol" "TCP") -}}{{- end -}}
{{- $_ := set $made "ports" $list -}}
{{- end -}}
{{- $rules = append $rules $made -}}
{{- end -}}
{{- toJson $rules -}}
{{- end -}}

{{/* To the decision services, as JSON. */}}
{{- define "spop-bridge.decisionRules" -}}
{{- $policy := .Values.networkPolicy -}}
{{- $places := list -}}
{{- range $name, $backend := .Values.config.backends -}}
{{- range $i, $endpoint := $backend.endpoints -}}
{{- $place := include "spop-bridge.place" (list $ $endpoint) | fromJson -}}
{{- $known := or $place.none $policy.decisions $place.to -}}
{{- if and $place.unknown (not $known) -}}
{{- fail (printf "networkPolicy.decisions is missing: config.backends.%s.endpoints[%d] is %s, so the chart cannot tell where that is and the NetworkPolicy would cut it off. Name the pods or addresses there, such as [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: team}}}], or set networkPolicy.egress=false." $name $i $endpoint) -}}
{{- end -}}
{{- if not (or $known $place.port $policy.decisionPorts) -}}
{{- fail (printf "networkPolicy.decisionPorts is missing: the chart cannot tell the port of config.backends.%s.endpoints[%d], %s, outside of the cluster. Name the port, or set networkPolicy.egress=false." $name $i $endpoint) -}}
{{- end -}}
{{- if not $place.none -}}{{- $places = append $places $place -}}{{- end -}}
{{- if and $place.perhaps (not $policy.decisions) -}}{{- $places = append $places (dict "port" 0 "to" $place.perhaps) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- $rules := include "spop-bridge.rules" (list $places $policy.decisionPorts) -}}
{{- if $policy.decisions -}}
{{- $anywhere := list -}}
{{- range $places -}}{{- $anywhere = append $anywhere (dict "port" .port) -}}{{- end -}}
{{- $rules = list -}}
{{- range include "spop-bridge.rules" (list $anywhere $policy.decisionPorts) | fromJsonArray -}}
{{- $rules = append $rules (merge (dict "to" $policy.decisions) .) -}}
{{- end -}}
{{- $rules = toJson $rules -}}
{{- end -}}
{{- $rules -}}
{{- end -}}

{{/* To receivers of telemetry, as JSON: `otel.endpoint`, and variables that name others. */}}
{{- define "spop-bridge.telemetryRules" -}}
{{- $urls := compact (list .Values.otel.endpoint) -}}
{{- range $name, $value := .Values.otel.env -}}
{{- if hasSuffix "_ENDPOINT" $name -}}{{- $urls = append $urls $value -}}{{- end -}}
{{- end -}}
{{- range .Values.extraEnv -}}
{{- if and (regexMatch "^OTEL_.*_ENDPOINT$" .name) .value -}}{{- $urls = append $urls .value -}}{{- end -}}
{{- end -}}
{{- $places := list -}}
{{- range $urls -}}
{{- $place := include "spop-bridge.place" (list $ .) | fromJson -}}
{{- if not $place.none -}}
{{- if and (not $place.to) (not $place.port) -}}{{- $_ := set $place "port" (ternary 443 80 (hasPrefix "https:" .)) -}}{{- end -}}
{{- with $.Values.networkPolicy.otel -}}{{- $_ := unset $place "to" -}}{{- end -}}
{{- $places = append $places $place -}}
{{- end -}}
{{- end -}}
{{- $rules := list -}}
{{- range include "spop-bridge.rules" (list $places list) | fromJsonArray -}}
{{- $rule := . -}}
{{- with $.Values.networkPolicy.otel -}}{{- $rule = merge (dict "to" .) $rule -}}{{- end -}}
{{- $rules = append $rules $rule -}}
{{- end -}}
{{- toJson $rules -}}
{{- end -}}

{{/* DNS servers that endpoints name themselves, `dns://10.0.0.10:5353/name:port`, as JSON. */}}
{{- define "spop-bridge.dnsRules" -}}
{{- $rules := list -}}
{{- range .Values.config.backends -}}
{{- range .endpoints -}}
{{- $server := regexFind "^dns://[^/]+/" (toString .) | trimPrefix "dns://" | trimSuffix "/" -}}
{{- if $server -}}
{{- $bare := not (or (hasPrefix "[" $server) (regexMatch "^[0-9.]+(:[0-9]+)?$" $server)) -}}
{{- $url := ternary (printf "http://[%s]:53" $server) (printf "http://%s" $server) $bare -}}
{{- $place := include "spop-bridge.place" (list $ $url) | fromJson -}}
{{- $port := default 53 $place.port | int -}}
{{- if $place.to -}}
{{- $rules = append $rules (dict "to" (list $place.to) "ports" (list (dict "port" $port "protocol" "UDP") (dict "port" $port "protocol" "TCP"))) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $rules | uniq | toJson -}}
{{- end -}}
