//! Variables of the environment that begin like options and are none.

/// What the name of an option begins with there.
pub(super) const PREFIX: &str = "TIDEGATE_";

/// Read elsewhere: by the command line and the benches. docs/operating.md says what they are for.
pub(super) const OTHER_VARIABLES: [&str; 7] = [
    "TIDEGATE_CONFIG",
    "TIDEGATE_CA",
    "TIDEGATE_ADMIN_PASSWORD",
    "TIDEGATE_APP_PASSWORD",
    "TIDEGATE_TOKEN",
    "TIDEGATE_SERVER_URL",
    "TIDEGATE_BENCH_BRIEF",
];

/// Whether Kubernetes made it of a Service: it tells every container where the Services of its namespace are, and of one that
/// is called `tidegate`, or `tidegate-…`, by names that begin as ours do. The forms are `…SERVICE_HOST`, `…SERVICE_PORT[_NAME]`,
/// `…PORT` with a URL as its value, and `…PORT_8080_TCP[_ADDR|_PORT|_PROTO]`.
pub(super) fn is_service_link(name: &str, value: &str) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX) else { return false };
    // `rest` is the form itself, or the rest of the Service's name and the form.
    let ends = |form: &str| rest == form || rest.strip_suffix(form).is_some_and(|service| service.ends_with('_'));
    let within = |form: &str| rest.starts_with(form) || rest.contains(&format!("_{form}"));
    if ends("SERVICE_HOST") || ends("SERVICE_PORT") || within("SERVICE_PORT_") {
        return true;
    }
    if ends("PORT") && ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme)) {
        return true;
    }
    let Some((before, port)) = rest.rsplit_once("PORT_") else { return false };
    let mut words = port.split('_');
    let number = words.next().is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
    let protocol = words.next().is_some_and(|word| matches!(word, "TCP" | "UDP" | "SCTP"));
    let part = words.next().is_none_or(|word| matches!(word, "ADDR" | "PORT" | "PROTO"));
    (before.is_empty() || before.ends_with('_')) && number && protocol && part && words.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubernetes_sets_for_a_service_is_known() {
        for (name, value) in [
            ("TIDEGATE_SERVICE_HOST", "10.96.0.7"),
            ("TIDEGATE_SERVICE_PORT", "8080"),
            ("TIDEGATE_SERVICE_PORT_API", "8080"),
            ("TIDEGATE_PORT", "tcp://10.96.0.7:8080"),
            ("TIDEGATE_PORT_8080_TCP", "tcp://10.96.0.7:8080"),
            ("TIDEGATE_PORT_8080_TCP_PROTO", "tcp"),
            ("TIDEGATE_PORT_8080_TCP_PORT", "8080"),
            ("TIDEGATE_PORT_8080_TCP_ADDR", "10.96.0.7"),
            ("TIDEGATE_ADMIN_SERVICE_HOST", "10.96.0.8"),
            ("TIDEGATE_ADMIN_SERVICE_PORT_METRICS", "8081"),
            ("TIDEGATE_ADMIN_PORT", "udp://10.96.0.8:8081"),
            ("TIDEGATE_ADMIN_PORT_8081_UDP_ADDR", "10.96.0.8"),
        ] {
            assert!(is_service_link(name, value), "{name}");
        }
        for (name, value) in [
            ("TIDEGATE_PORT", "8080"),
            ("TIDEGATE_MAIL_PORT", "587"),
            ("TIDEGATE_SERVER_PORT", "8080"),
            ("TIDEGATE_PORT_TCP", "x"),
            ("TIDEGATE_PORT_8080_TPC", "x"),
            ("TIDEGATE_REPORT_8080_TCP", "x"),
            ("TIDEGATE_STORE_DATTA", "x"),
            ("TIDEGATE_SERVICE_HOSTS", "x"),
            ("SERVICE_HOST", "x"),
        ] {
            assert!(!is_service_link(name, value), "{name}");
        }
    }
}
