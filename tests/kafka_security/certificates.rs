//! Who shows a certificate instead of a password.

use crate::guarded::guarded;
use crate::support::kafka::Record;
use crate::support::run;
use crate::support::server::{Process, fails};
use crate::support::socket::{Socket, Terms, Told};
use crate::{assert_silent, error, logged};
use serde_json::json;

#[test]
fn a_certificate_lets_log_and_ingest_in() {
    let guarded = guarded();
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| guarded.file(name).display().to_string();
    let (ca, certificate, key) = (file("ca.pem"), file("tidegate.pem"), file("tidegate.key"));
    let password = format!("file:{}", file("password"));
    let properties = [
        ("security.protocol", "SSL"),
        ("ssl.ca.location", &*ca),
        ("ssl.certificate.location", &certificate),
        ("ssl.key.location", &key),
        ("ssl.key.password", &password),
    ];
    run(async {
        let topic = guarded.broker.topic("shown", 1, &[]).await;
        let said = directory.path().join("certificate.log");
        let mut command = guarded.serve_at(&guarded.mutual, directory.path(), properties, "log-certificate", &topic);
        logged(&mut command, &said);
        let process = Process::start(command);
        let socket = Socket::connect(&process.url).await;
        let orders = socket.subscribe("Order", "{}", &Terms::extended());
        orders.answered().await;
        guarded.broker.produce(&topic, [Record::new("1", json!({"city": "Oslo"}).to_string())]).await;
        // It comes in from the topic, and its event through that of the log.
        let came = |told: &[Told]| told.iter().any(|told| matches!(told, Told::Event { data, .. } if data["city"] == "Oslo"));
        orders.wait("the order", came).await;
        assert!(!guarded.broker.read("log-certificate").await.is_empty());
        assert!(process.terminate().success());
        assert_silent(&std::fs::read_to_string(said).unwrap(), "the log");
    });
}

#[test]
fn whose_certificate_is_wrong_is_told_so() {
    let guarded = guarded();
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| guarded.file(name).display().to_string();
    let (ca, stranger, strange_key) = (file("ca.pem"), file("stranger.pem"), file("stranger.key"));
    let (certificate, key, wrong) = (file("tidegate.pem"), file("tidegate.key"), format!("file:{}", file("wrong")));
    let base = [("security.protocol", "SSL"), ("ssl.ca.location", &*ca)];
    let cases: [(&str, &[(&str, &str)], &str); 3] = [
        ("nobody's", &[], "does not accept this server's certificate"),
        (
            "a stranger's",
            &[("ssl.certificate.location", &stranger), ("ssl.key.location", &strange_key)],
            "does not accept this server's certificate",
        ),
        (
            "without its key",
            &[("ssl.certificate.location", &certificate), ("ssl.key.location", &key), ("ssl.key.password", &wrong)],
            "ssl.key",
        ),
    ];
    for (name, properties, hint) in cases {
        let properties = base.iter().chain(properties).copied();
        let (status, said) = fails(guarded.serve_at(&guarded.mutual, &directory.path().join(name), properties, "log", "orders"));
        assert!(!status.success(), "{said}");
        let last = error(&said).to_lowercase();
        assert!(last.contains(hint), "{name}: {last}");
        println!("{name}: {last}");
        assert_silent(&said, name);
    }
}
