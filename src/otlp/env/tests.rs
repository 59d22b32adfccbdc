use super::*;

fn settings(list: &[(&str, &str)]) -> Settings {
    Settings::read(list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

/// The URIs of traces, metrics and logs.
fn uris(list: &[(&str, &str)]) -> [Option<String>; 3] {
    let Settings { traces, metrics, logs, .. } = settings(list);
    let receivers = [traces.map(|to| to.receiver), metrics.map(|to| to.receiver), logs.map(|to| to.receiver)];
    receivers.map(|receiver| receiver.map(|receiver| receiver.uri.to_string()))
}

fn own(uri: &str) -> Option<String> {
    Some(uri.to_owned())
}

/// Where traces go, if the endpoint is good.
fn traces(list: &[(&str, &str)]) -> Option<String> {
    let [traces, ..] = uris(list);
    traces
}

#[track_caller]
fn warned(list: &[(&str, &str)]) -> String {
    let warnings = settings(list).warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    warnings.concat()
}

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

#[test]
fn nothing_is_exported_unless_somebody_says_so() {
    assert_eq!(uris(&[]), [None, None, None]);
    assert_eq!(uris(&[(ENDPOINT, " ")]), [None, None, None], "empty is unset");
    assert_eq!(uris(&[("OTEL_TRACES_EXPORTER", "otlp")]), [own("http://localhost:4318/v1/traces"), None, None]);
    assert_eq!(uris(&[("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://c:1")]), [None, None, own("http://c:1/")]);
    let all = (ENDPOINT, "http://c:1");
    assert_eq!(uris(&[all]), ["traces", "metrics", "logs"].map(|signal| Some(format!("http://c:1/v1/{signal}"))));
    assert_eq!(uris(&[all, ("OTEL_METRICS_EXPORTER", "none"), ("OTEL_LOGS_EXPORTER", "None")])[1..], [None, None]);
    assert_eq!(uris(&[all, ("OTEL_METRICS_EXPORTER", "prometheus")])[1], None);
    assert_eq!(uris(&[all, ("OTEL_METRICS_EXPORTER", "prometheus, OTLP")])[1], own("http://c:1/v1/metrics"));
    assert_eq!(uris(&[all, ("OTEL_SDK_DISABLED", "TRUE")]), [None, None, None]);
    assert_eq!(
        warned(&[("OTEL_TRACES_EXPORTER", "console")]),
        "OTEL_TRACES_EXPORTER: console is not known here, only otlp and none; left out"
    );
}

#[test]
fn paths_of_http_endpoints() {
    for (base, expected) in [
        ("http://c:1", "http://c:1/v1/traces"),
        ("http://c:1/", "http://c:1/v1/traces"),
        ("https://c/a/b", "https://c/a/b/v1/traces"),
        ("https://c/a/b/", "https://c/a/b/v1/traces"),
    ] {
        assert_eq!(traces(&[(ENDPOINT, base)]), own(expected));
    }
    let own_endpoint = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    assert_eq!(traces(&[(ENDPOINT, "http://c:1"), (own_endpoint, "http://d:2/in?x=1")]), own("http://d:2/in?x=1"));
    for bad in ["c:4318", "ftp://c", "http://", "/v1", "http://user:secret@c:1", "http://c:x", "http://c:"] {
        let warning = warned(&[(ENDPOINT, bad), ("OTEL_METRICS_EXPORTER", "none"), ("OTEL_LOGS_EXPORTER", "none")]);
        assert!(warning.starts_with("OTEL_EXPORTER_OTLP_ENDPOINT: expected http://"), "{bad}: {warning}");
        assert!(!warning.contains("secret"));
        assert_eq!(traces(&[(ENDPOINT, bad), ("OTEL_TRACES_EXPORTER", "otlp")]), None, "not to localhost instead");
    }
}

#[test]
fn the_scheme_decides_about_tls() {
    let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let path = "opentelemetry.proto.collector.trace.v1.TraceService/Export";
    for (endpoint, insecure, expected) in [
        ("http://c:1", "", "http://c:1/"),
        ("https://c:1/x", "true", "https://c:1/"),
        ("c:1", "", "https://c:1/"),
        ("c:1", "true", "http://c:1/"),
    ] {
        let found = traces(&[grpc, (ENDPOINT, endpoint), ("OTEL_EXPORTER_OTLP_INSECURE", insecure)]);
        assert_eq!(found, Some(format!("{expected}{path}")), "{endpoint}");
    }
    let own_insecure = ("OTEL_EXPORTER_OTLP_TRACES_INSECURE", "false");
    let found = traces(&[grpc, (ENDPOINT, "c:1"), ("OTEL_EXPORTER_OTLP_INSECURE", "true"), own_insecure]);
    assert_eq!(found, Some(format!("https://c:1/{path}")));
    assert_eq!(traces(&[grpc, ("OTEL_TRACES_EXPORTER", "otlp")]), Some(format!("http://localhost:4317/{path}")));
}

#[test]
fn one_signal_s_variables_come_first() {
    let receivers = settings(&[
        (ENDPOINT, "https://c"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "GRPC"),
        ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "3000"),
        ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "500"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_LOGS_COMPRESSION", "none"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "Api-Key=a%2Cb, x=1"),
        ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "y=2"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca"),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/crt"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/key"),
        ("OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE", "/logs-ca"),
    ]);
    assert_eq!(receivers.warnings, [""; 0]);
    let (traces, logs) = (receivers.traces.unwrap().receiver, receivers.logs.unwrap().receiver);
    assert_eq!((traces.protocol, logs.protocol), (Protocol::Grpc, Protocol::HttpProtobuf));
    assert_eq!([traces.timeout, logs.timeout].map(|timeout| timeout.as_millis()), [3000, 500]);
    assert_eq!((traces.gzip, logs.gzip), (true, false));
    assert_eq!(
        (traces.headers.len(), &traces.headers["api-key"], &traces.headers["x"]),
        (2, &"a,b".parse().unwrap(), &"1".parse().unwrap())
    );
    assert_eq!((logs.headers.len(), &logs.headers["y"]), (1, &"2".parse().unwrap()));
    assert!(!format!("{traces:?}").contains("a,b"), "headers are secret");
    assert_eq!((traces.tls.ca, logs.tls.ca), (Some("/ca".into()), Some("/logs-ca".into())));
    assert_eq!(traces.tls.identity.map(|identity| (identity.certificate, identity.key)), Some(("/crt".into(), "/key".into())));
}

#[test]
fn what_is_invalid_is_reported_and_ignored() {
    let on = (ENDPOINT, "http://c:1");
    for (name, value, expected) in [
        ("OTEL_SDK_DISABLED", "yes", "found yes, expected true or false; taken as false"),
        ("OTEL_BSP_SCHEDULE_DELAY", "5s", "found 5s, expected a whole number from 1 to 86400000; ignored"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "found 0, expected a whole number from 1 to 262144; ignored"),
        ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "4096", "larger than the queue; taken as 2048"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "-1", "found -1, expected a whole number from 1 to 86400000; ignored"),
        ("OTEL_TRACES_SAMPLER", "xray", "xray is not known here; taken as parentbased_always_on"),
        ("OTEL_PROPAGATORS", "tracecontext,b3", "b3 is not known here, only tracecontext, baggage and none; left out"),
        ("OTEL_METRICS_EXEMPLAR_FILTER", "always_on", "always_on is not supported; taken as trace_based"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta", "delta is not supported; taken as cumulative"),
        (
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
            "http/json",
            "found http/json, expected grpc or http/protobuf; taken as http/protobuf",
        ),
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "zstd", "found zstd, expected gzip or none; taken as none"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a=1,secret", "number 2 is not name=value; left out"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "grpc-timeout=1S", "grpc-timeout is not yours to set; left out"),
        ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "/key", "CLIENT_CERTIFICATE and CLIENT_KEY must both be set; ignored"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=1,b", "expected key=value,key=value with values percent-encoded; ignored as a whole"),
        (
            "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
            "many",
            "found many, expected a whole number from 0 to 18446744073709551615; ignored",
        ),
    ] {
        assert_eq!(warned(&[on, (name, value)]), format!("{name}: {expected}"));
    }
}

#[test]
fn what_nobody_reads_is_named() {
    let warning = warned(&[("OTEL_LOG_LEVEL", "debug"), ("OTEL_POD_IP", "10.0.0.1"), ("OTEL_EMPTY", ""), ("PATH", "/bin")]);
    assert_eq!(warning, "set, but not honoured: OTEL_LOG_LEVEL, OTEL_POD_IP");
    assert_eq!(settings(&[("OTEL_SPAN_LINK_COUNT_LIMIT", "1")]).warnings, [""; 0]);
}

#[test]
fn samplers() {
    let sampler = |word, arg| settings(&[("OTEL_TRACES_SAMPLER", word), ("OTEL_TRACES_SAMPLER_ARG", arg)]).sampler;
    for (word, arg, parent_based, root) in [
        ("", "", true, Root::AlwaysOn),
        ("always_on", "", false, Root::AlwaysOn),
        ("always_off", "", false, Root::AlwaysOff),
        ("traceidratio", "0.25", false, Root::Ratio(0.25)),
        ("ParentBased_Always_On", "", true, Root::AlwaysOn),
        ("parentbased_always_off", "", true, Root::AlwaysOff),
        ("parentbased_traceidratio", "", true, Root::Ratio(1.0)),
        ("parentbased_traceidratio", "1.5", true, Root::Ratio(1.0)),
        ("jaeger_remote", "endpoint=x", true, Root::AlwaysOn),
    ] {
        assert_eq!(sampler(word, arg), Sampler { parent_based, root }, "{word} {arg}");
    }
}

#[test]
fn propagators() {
    let propagated = |words| {
        let Propagated { trace_context, baggage } = settings(&[("OTEL_PROPAGATORS", words)]).propagated;
        (trace_context, baggage)
    };
    assert_eq!(
        ["", "tracecontext", "baggage", "none"].map(propagated),
        [(true, true), (true, false), (false, true), (false, false)]
    );
}

#[test]
fn batches_and_intervals() {
    let on = (ENDPOINT, "http://c:1");
    let Settings { traces, metrics, logs, .. } = settings(&[on]);
    let (traces, metrics, logs) = (traces.unwrap(), metrics.unwrap(), logs.unwrap());
    let millis = |batched: &Batched| [batched.delay.as_millis(), batched.timeout.as_millis()];
    assert_eq!((millis(&traces), traces.queue, traces.batch), ([5000, 30_000], 2048, 512));
    assert_eq!((millis(&logs), logs.queue, logs.batch), ([1000, 30_000], 2048, 512));
    assert_eq!([metrics.interval.as_secs(), metrics.timeout.as_secs()], [60, 30]);
    let small = settings(&[on, ("OTEL_BSP_MAX_QUEUE_SIZE", "100"), ("OTEL_BSP_SCHEDULE_DELAY", "200")]);
    let traces = small.traces.unwrap();
    assert_eq!((traces.delay.as_millis(), traces.queue, traces.batch, small.warnings.len()), (200, 100, 100, 0));
}

#[test]
fn limits_of_attributes() {
    let limits = |list: &[(&str, &str)]| {
        let settings = settings(list);
        [settings.span_limits, settings.record_limits].map(|limits| (limits.count, limits.length))
    };
    assert_eq!(limits(&[]), [(128, usize::MAX); 2]);
    let both = [("OTEL_ATTRIBUTE_COUNT_LIMIT", "5"), ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "10")];
    assert_eq!(limits(&both), [(5, 10); 2]);
    let own = [both[0], both[1], ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "7"), ("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", "9")];
    assert_eq!(limits(&own), [(7, 10), (5, 9)]);
}

#[test]
fn the_service_has_the_name_that_it_is_given() {
    let name = |list: &[(&str, &str)]| {
        let resource = settings(list).resource;
        let names: Vec<_> = resource.into_iter().filter(|(key, _)| key == "service.name").map(|(_, value)| value).collect();
        assert_eq!(names.len(), 1);
        match &names[0] {
            Attribute::Text(name) => name.to_string(),
            other => panic!("{other:?}"),
        }
    };
    let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a%20b,k8s.pod.name=p");
    assert_eq!(name(&[]), "spop-bridge");
    assert_eq!(name(&[attributes]), "a b");
    assert_eq!(name(&[attributes, ("OTEL_SERVICE_NAME", "edge")]), "edge");
}

/// Every variable in the table of the documentation is read, and for each signal where it says so.
#[test]
fn what_is_documented_is_honoured() {
    let table = include_str!("../../../docs/opentelemetry.md").lines().filter(|line| line.starts_with("| `OTEL_"));
    let names = table.flat_map(|line| line.split('|').nth(1).unwrap_or_default().split('`').skip(1).step_by(2));
    let mut documented: Vec<String> = names.map(str::to_owned).collect();
    assert!(documented.len() > 40, "{documented:?}");
    let of_one_signal = |name: &String| {
        let what = name.strip_prefix("OTEL_EXPORTER_OTLP_").filter(|what| !what.starts_with("METRICS_"));
        what.map(|what| ["TRACES", "METRICS", "LOGS"].map(|signal| format!("OTEL_EXPORTER_OTLP_{signal}_{what}")))
    };
    let more: Vec<String> = documented.iter().filter_map(of_one_signal).flatten().collect();
    documented.extend(more);
    let warnings = Settings::read(documented.into_iter().map(|name| (name, "x".to_owned()))).warnings;
    let unread: Vec<_> = warnings.iter().filter(|warning| warning.starts_with("set, but not honoured")).collect();
    assert!(unread.is_empty(), "{unread:?}");
}
