//! A broker that asks for TLS and a password: change log and ingest through it, secrets that come from files and the
//! environment and are seen nowhere, and what an operator is told who gets one wrong.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

mod support;

use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use support::kafka::{Broker, Record, free_port, java};
use support::server::{PASSWORD, Process, fails, serve};
use support::socket::{Socket, Terms, Told};
use support::{PATIENCE, run};
use tempfile::TempDir;

const SECRET: &str = "swordfish-8ae4";
const WRONG: &str = "sturgeon-51bb";

/// A broker with a second door: TLS with a certificate of our own authority, and SASL by SCRAM or PLAIN.
struct Guarded {
    broker: Broker,
    /// Of the guarded door
    address: String,
    files: TempDir,
}

/// With one last argument that may have spaces.
fn openssl(arguments: &str, directory: &Path, last: &str) {
    let mut command = Command::new("openssl");
    let output = command.args(arguments.split_whitespace()).arg(last).current_dir(directory).output().expect("openssl is not installed");
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Guarded {
    fn start() -> Guarded {
        let files = TempDir::with_prefix("tidegate-tls-").unwrap();
        let path = files.path();
        for (name, subject) in [("ca", "/CN=Our authority"), ("stranger", "/CN=Somebody else")] {
            openssl(&format!("req -x509 -newkey rsa:2048 -nodes -days 2 -keyout {name}.key -out {name}.pem -subj"), path, subject);
        }
        openssl("req -newkey rsa:2048 -nodes -keyout broker.key -out broker.csr -subj", path, "/CN=broker");
        std::fs::write(path.join("names"), "subjectAltName=IP:127.0.0.1\n").unwrap();
        openssl("x509 -req -in broker.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out", path, "broker.pem");
        let key = std::fs::read_to_string(path.join("broker.key")).unwrap();
        let certificate = std::fs::read_to_string(path.join("broker.pem")).unwrap();
        let keystore = path.join("keystore.pem");
        std::fs::write(&keystore, key + &certificate).unwrap();
        for (name, secret) in [("password", SECRET), ("wrong", WRONG)] {
            std::fs::write(path.join(name), format!("{secret}\n")).unwrap();
        }

        let port = free_port();
        let listeners = format!("CLIENT://127.0.0.1:@PORT@,GUARDED://127.0.0.1:{port}");
        let plain = format!(r#"org.apache.kafka.common.security.plain.PlainLoginModule required user_plain="{SECRET}";"#);
        let broker = Broker::prepare(&[
            ("listeners", &format!("{listeners},CONTROLLER://127.0.0.1:@CONTROLLER_PORT@")),
            ("advertised.listeners", &listeners),
            ("listener.security.protocol.map", "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT,GUARDED:SASL_SSL"),
            ("sasl.enabled.mechanisms", "SCRAM-SHA-512,PLAIN"),
            ("listener.name.guarded.scram-sha-512.sasl.jaas.config", "org.apache.kafka.common.security.scram.ScramLoginModule required;"),
            ("listener.name.guarded.plain.sasl.jaas.config", &plain),
            ("ssl.keystore.type", "PEM"),
            ("ssl.keystore.location", &keystore.display().to_string()),
        ]);
        // The users that SCRAM knows are laid down when the directory is formatted.
        let data = broker.directory().join("data");
        std::fs::remove_dir_all(&data).unwrap();
        let mut format = java("-Xmx128m", "kafka.tools.StorageTool");
        format.args(["format", "--cluster-id", "Guarded0000000000000AQ", "--config"]).arg(broker.directory().join("broker.properties"));
        format.args(["--add-scram", &format!("SCRAM-SHA-512=[name=tidegate,password={SECRET}]")]);
        let output = format.output().unwrap();
        assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        broker.launch();
        broker.wait();
        Guarded { broker, address: format!("127.0.0.1:{port}"), files }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// `tidegate serve` with everything through the guarded door: properties of librdkafka, topics.
    fn serve(&self, directory: &Path, properties: &[(&str, &str)], log: &str, topic: &str) -> Command {
        let mut config = format!("[changelog]\nlog = \"kafka://{}/{log}\"\n", self.address);
        config.push_str(&format!("[[ingest]]\ntopic = \"{topic}\"\nbucket = \"Order\"\nread = \"public\"\n"));
        config.push_str(&format!("[kafka]\nbrokers = \"{}\"\n[kafka.properties]\n", self.address));
        config.push_str("\"security.protocol\" = \"SASL_SSL\"\n");
        for (property, value) in properties {
            config.push_str(&format!("{property:?} = {value:?}\n"));
        }
        std::fs::create_dir_all(directory).unwrap();
        let file = directory.join("tidegate.toml");
        std::fs::write(&file, config).unwrap();
        let mut command = serve(&directory.join("data"));
        command.arg("--config").arg(file).args(["--set", "store.durability=system", "--set", "log.level=debug"]);
        command
    }
}

/// What a child writes to stderr goes to a file; all of it so far.
fn logged(command: &mut Command, file: &Path) {
    command.stderr(std::fs::File::create(file).unwrap());
}

/// Neither a log nor a configuration shows a secret.
fn assert_silent(text: &str, what: &str) {
    assert!(!text.contains(SECRET) && !text.contains(WRONG), "{what} shows a secret: {text}");
}

#[test]
fn log_and_ingest_go_through_tls_and_a_password() {
    let guarded = Guarded::start();
    let directory = tempfile::tempdir().unwrap();
    let (ca, password) = (guarded.file("ca.pem").display().to_string(), format!("file:{}", guarded.file("password").display()));
    let scram =
        [("sasl.mechanisms", "SCRAM-SHA-512"), ("sasl.username", "tidegate"), ("sasl.password", &*password), ("ssl.ca.location", &*ca)];
    let plain =
        [("sasl.mechanisms", "PLAIN"), ("sasl.username", "plain"), ("sasl.password", "env:BROKER_PASSWORD"), ("ssl.ca.location", &*ca)];
    run(async {
        for (name, properties) in [("scram", scram), ("plain", plain)] {
            let topic = guarded.broker.topic("orders", 2, &[]).await;
            let (log, said) = (format!("log-{name}"), directory.path().join(format!("{name}.log")));
            let mut command = guarded.serve(&directory.path().join(name), &properties, &log, &topic);
            command.env("BROKER_PASSWORD", SECRET);
            logged(&mut command, &said);
            let process = Process::start(command);
            let (http, socket) = (process.http(), Socket::connect(&process.url).await);
            let orders = socket.subscribe("Order", "{}", &Terms::extended());
            let notes = socket.subscribe("Note", "{}", &Terms::extended());
            orders.answered().await;
            notes.answered().await;
            // A topic comes in, and what it does goes out through the log, as does what the API does.
            guarded.broker.produce(&topic, [Record::new("7", json!({"city": "Paris"}).to_string())]).await;
            let came = |told: &[Told]| told.iter().any(|told| matches!(told, Told::Event { data, .. } if data["city"] == "Paris"));
            orders.wait("the order", came).await;
            let written = http.insert("Note", json!({"text": "by hand"}).to_string()).await;
            notes.reached(written.position().unwrap()).await;
            let records = guarded.broker.read(&log).await;
            for id in ["/db/Order/7".to_owned(), written.json()["id"].as_str().unwrap().to_owned()] {
                let holds = |text: Option<&[u8]>| text.is_some_and(|text| String::from_utf8_lossy(text).contains(&id));
                assert!(records.iter().any(|record| holds(rdkafka::Message::payload(record))), "{id} is not in the log");
            }
            assert!(process.terminate().success());
            assert_silent(&std::fs::read_to_string(said).unwrap(), "the log");
        }
    });
}

#[test]
fn who_is_not_let_in_is_told_why() {
    let guarded = Guarded::start();
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| format!("file:{}", guarded.file(name).display());
    let (ca, stranger) = (guarded.file("ca.pem").display().to_string(), guarded.file("stranger.pem").display().to_string());
    let (right, wrong) = (file("password"), file("wrong"));
    for (name, mechanism, password, authority, hint) in [
        ("scram", "SCRAM-SHA-512", &wrong, &ca, "authentication"),
        ("plain", "PLAIN", &wrong, &ca, "authentication"),
        ("certificate", "SCRAM-SHA-512", &right, &stranger, "certificate"),
    ] {
        let properties = [
            ("sasl.mechanisms", mechanism),
            ("sasl.username", "tidegate"),
            ("sasl.password", &**password),
            ("ssl.ca.location", &**authority),
        ];
        let (status, said) = fails(guarded.serve(&directory.path().join(name), &properties, "log", "orders"));
        assert!(!status.success(), "{said}");
        // The last line is the one that an operator reads.
        let last = said.lines().last().unwrap_or_default().to_lowercase();
        assert!(last.contains(hint), "{name}: {said}");
        assert_silent(&said, name);
    }
    // Ingest goes on asking, and says so.
    let properties = [("sasl.mechanisms", "PLAIN"), ("sasl.username", "plain"), ("sasl.password", &*wrong), ("ssl.ca.location", &*ca)];
    let mut command = guarded.serve(&directory.path().join("ingest"), &properties, "log", "orders");
    command.args(["--changelog", "embedded"]);
    let said = directory.path().join("ingest.log");
    logged(&mut command, &said);
    let process = Process::start(command);
    let status = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.env_clear().env("TIDEGATE_ADMIN_PASSWORD", PASSWORD).args(["ingest", "status"]);
        command.args(["--api", &process.url, "--admin", &process.admin]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let deadline = Instant::now() + PATIENCE;
    while !status().to_lowercase().contains("authentication") {
        assert!(Instant::now() < deadline, "{}", status());
    }
    assert_silent(&status(), "the status");
    assert_silent(&std::fs::read_to_string(&said).unwrap(), "the log of ingest");
    // A file that is not there is named.
    let properties = [("sasl.mechanisms", "PLAIN"), ("sasl.password", "file:/no/such/password")];
    let (_, said) = fails(guarded.serve(&directory.path().join("missing"), &properties, "log", "orders"));
    assert!(said.contains("sasl.password") && said.contains("/no/such/password"), "{said}");
}

#[test]
fn the_configuration_shows_where_secrets_are_and_not_what_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tidegate.toml");
    let properties =
        format!("\"sasl.password\" = \"{SECRET}\"\n\"ssl.key.password\" = \"file:/etc/secret\"\n\"sasl.username\" = \"env:WHO\"\n");
    std::fs::write(&file, format!("[kafka.properties]\n{properties}")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    let output = command.env_clear().arg("config").arg("--config").arg(&file).stdin(Stdio::null()).output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_silent(&shown, "the configuration");
    assert!(shown.contains("file:/etc/secret") && shown.contains("env:WHO") && shown.contains("sasl.password"), "{shown}");
    // Nor does a mistake beside it.
    std::fs::write(&file, format!("[kafka.properties]\n{properties}\"sasl.password\" = \"{WRONG}\"\n")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    let output = command.env_clear().arg("config").arg("--config").arg(&file).stdin(Stdio::null()).output().unwrap();
    assert!(!output.status.success());
    assert_silent(&String::from_utf8_lossy(&output.stderr), "an error");
}
