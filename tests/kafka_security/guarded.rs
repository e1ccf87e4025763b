//! A broker with doors for who shows a password and for who shows a certificate, and rights for those who come in.

use crate::support::kafka::{Broker, java, runs};
use crate::support::ports::free_port;
use crate::support::server::serve;
use crate::{SECRET, WRONG};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use tempfile::TempDir;

/// A broker with two doors more: TLS with a certificate of our own authority and SASL by SCRAM or PLAIN, and TLS with a
/// certificate of each side. Everybody may do everything but the user `limited`, who may do what he is granted.
pub struct Guarded {
    pub broker: Broker,
    /// Of the door with passwords
    pub address: String,
    /// Of the door with certificates
    pub mutual: String,
    files: TempDir,
}

/// Shared by all tests: they have topics of their own.
pub fn guarded() -> &'static Guarded {
    static GUARDED: OnceLock<Guarded> = OnceLock::new();
    GUARDED.get_or_init(Guarded::start)
}

/// With one last argument that may have spaces.
fn openssl(arguments: &str, directory: &Path, last: &str) {
    let mut command = Command::new("openssl");
    let output = command.args(arguments.split_whitespace()).arg(last).current_dir(directory).output().expect("openssl is not installed");
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A certificate of our authority; its key without a password, or with one.
fn certificate(path: &Path, name: &str, key: &str) {
    openssl(&format!("req -newkey rsa:2048 {key} -keyout {name}.key -out {name}.csr -subj"), path, &format!("/CN={name}"));
    let sign = "-CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out";
    openssl(&format!("x509 -req -in {name}.csr {sign}"), path, &format!("{name}.pem"));
}

impl Guarded {
    fn start() -> Guarded {
        let files = TempDir::with_prefix_in(format!("{}-tls-", std::process::id()), runs()).unwrap();
        let path = files.path();
        for (name, subject) in [("ca", "/CN=Our authority"), ("stranger", "/CN=Somebody else")] {
            openssl(&format!("req -x509 -newkey rsa:2048 -nodes -days 2 -keyout {name}.key -out {name}.pem -subj"), path, subject);
        }
        std::fs::write(path.join("names"), "subjectAltName=IP:127.0.0.1\n").unwrap();
        certificate(path, "broker", "-nodes");
        certificate(path, "tidegate", &format!("-passout pass:{SECRET}"));
        let key = std::fs::read_to_string(path.join("broker.key")).unwrap();
        let certificate = std::fs::read_to_string(path.join("broker.pem")).unwrap();
        let keystore = path.join("keystore.pem");
        std::fs::write(&keystore, key + &certificate).unwrap();
        for (name, secret) in [("password", SECRET), ("wrong", WRONG)] {
            std::fs::write(path.join(name), format!("{secret}\n")).unwrap();
        }

        let (port, mutual) = (free_port(), free_port());
        let listeners = format!("CLIENT://127.0.0.1:@PORT@,GUARDED://127.0.0.1:{port},MUTUAL://127.0.0.1:{mutual}");
        let users = format!(r#"user_plain="{SECRET}" user_limited="{SECRET}""#);
        let plain = format!("org.apache.kafka.common.security.plain.PlainLoginModule required {users};");
        let broker = Broker::prepare(&[
            ("listeners", &format!("{listeners},CONTROLLER://127.0.0.1:@CONTROLLER_PORT@")),
            ("advertised.listeners", &listeners),
            ("listener.security.protocol.map", "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT,GUARDED:SASL_SSL,MUTUAL:SSL"),
            ("sasl.enabled.mechanisms", "SCRAM-SHA-512,PLAIN"),
            ("listener.name.guarded.scram-sha-512.sasl.jaas.config", "org.apache.kafka.common.security.scram.ScramLoginModule required;"),
            ("listener.name.guarded.plain.sasl.jaas.config", &plain),
            ("ssl.keystore.type", "PEM"),
            ("ssl.keystore.location", &keystore.display().to_string()),
            ("listener.name.mutual.ssl.client.auth", "required"),
            ("ssl.truststore.type", "PEM"),
            ("ssl.truststore.location", &path.join("ca.pem").display().to_string()),
            ("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"),
            ("super.users", "User:ANONYMOUS;User:tidegate;User:plain;User:CN=tidegate"),
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
        Guarded { broker, address: format!("127.0.0.1:{port}"), mutual: format!("127.0.0.1:{mutual}"), files }
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// `tidegate serve` with everything through the door with passwords: properties of librdkafka, topics.
    pub fn serve(&self, directory: &Path, properties: &[(&str, &str)], log: &str, topic: &str) -> Command {
        let protocol = [("security.protocol", "SASL_SSL")];
        self.serve_at(&self.address, directory, protocol.iter().chain(properties).copied(), log, topic)
    }

    /// The same through any door.
    pub fn serve_at<'p>(
        &self,
        address: &str,
        directory: &Path,
        properties: impl IntoIterator<Item = (&'p str, &'p str)>,
        log: &str,
        topic: &str,
    ) -> Command {
        let mut config = format!("[changelog]\nlog = \"kafka://{address}/{log}\"\n");
        config.push_str(&format!("[[ingest]]\ntopic = \"{topic}\"\nbucket = \"Order\"\nread = \"public\"\n"));
        config.push_str(&format!("[kafka]\nbrokers = \"{address}\"\n[kafka.properties]\n"));
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
