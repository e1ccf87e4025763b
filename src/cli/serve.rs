//! `tidegate serve`: the server, until it is told to end.

use super::{ConfigArgs, Failure, IngestArgs, end_of_process, runtime};
use crate::bench::process::{hard_file_limit, raise_file_limit};
use crate::console;
use crate::server::{Server, Setup};
use crate::telemetry;
use std::path::PathBuf;

/// Files that are open beside connections: the store's tables and journals, listeners, connections to brokers and providers.
const OTHER_FILES: u64 = 1_024;

/// Run the server: store, change log, dataflow, gateway and API in one process.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    tidegate serve\n  \
    tidegate serve --listen 127.0.0.1:9000 --data /var/lib/tidegate\n  \
    tidegate serve --listen 0.0.0.0:443 --tls-cert fullchain.pem --tls-key privkey.pem\n  \
    tidegate serve --config tidegate.toml --set changelog.age_seconds=3600\n  \
    tidegate serve --kafka 127.0.0.1:9092 --ingest orders=Order --ingest shop.customers=Customer\n\n\
    The first start generates the password of the administrator `root` and prints it once, unless one is given. One that is\n\
    given at a later start (TIDEGATE_ADMIN_PASSWORD too) takes the place of the password that `root` has, and ends his tokens:\n\
    so a lost one comes back. Do not leave it in a unit file.")]
pub struct Serve {
    #[command(flatten)]
    options: ConfigArgs,
    #[command(flatten)]
    ingest: IngestArgs,
    /// Certificate of the API, PEM, with those that lead to its root; read again when it changes and at SIGHUP
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, PEM
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Password of the administrator `root`; better given in the environment, where `ps` does not show it
    #[arg(long, value_name = "PW", env = "TIDEGATE_ADMIN_PASSWORD", hide_env_values = true)]
    admin_password: Option<String>,
}

impl Serve {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let config = self
            .options
            .load_with(|layers| {
                for (option, flag, file) in
                    [("server.tls_cert", "--tls-cert", &self.tls_cert), ("server.tls_key", "--tls-key", &self.tls_key)]
                {
                    if let Some(file) = file {
                        layers.flag(option, &file.to_string_lossy(), flag)?;
                    }
                }
                self.ingest.lay(layers)
            })?
            .config;
        telemetry::start(&config.log)?;
        let needed = config.server.connections as u64 + OTHER_FILES;
        let allowed = raise_file_limit(hard_file_limit().max(needed));
        if allowed < needed {
            let connections = config.server.connections;
            tracing::warn!(
                allowed,
                needed,
                connections,
                "fewer files may be open than server.connections needs: raise the limit (ulimit -n, LimitNOFILE)"
            );
        }
        let data = config.store.data.clone();
        runtime()?.block_on(async {
            // Before anything is opened, so that no signal falls between.
            let told = end_of_process()?;
            let pages = console::pages(&config.server);
            let server = Server::start(Setup { config, root_password: self.admin_password, pages }).await?;
            println!("tidegate {} listens on {}", env!("CARGO_PKG_VERSION"), server.url());
            println!("metrics and administration on http://{}", server.admin_address());
            println!("data in {}", data.display());
            for topic in server.ingest().iter().flat_map(|ingest| ingest.status()) {
                println!("topic {} comes into {}", topic.topic, topic.bucket);
            }
            if let Some(password) = server.root_password() {
                println!("password of the administrator root (shown this once): {password}");
            }
            told.await;
            tracing::info!("ending: no new requests, answers under way are finished");
            server.shutdown().await?;
            Ok(())
        })
    }
}
