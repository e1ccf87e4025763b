//! A server of its own for a run: embedded defaults, a temporary directory, ports of the system's choice.

use super::BenchError;
use super::http::Base;
use crate::client::trust::Trust;
use crate::config::{Durability, Layers};
use crate::server::{Server, Setup};
use crate::store::embedded::Statistics;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A server on threads of its own. Its data go when this is dropped.
#[derive(Debug)]
pub struct InProcess {
    server: Option<Server>,
    runtime: Option<Runtime>,
    _data: TempDir,
    password: String,
    base: Base,
}

impl InProcess {
    /// Starts it. Blocks: not to be called on a runtime's thread.
    pub fn start(durability: Durability) -> Result<InProcess, BenchError> {
        InProcess::start_with(durability, &[])
    }

    /// The same with other options, each as `section.key=value`.
    pub fn start_with(durability: Durability, options: &[String]) -> Result<InProcess, BenchError> {
        let failed = |error: &dyn std::fmt::Display| BenchError::Start(error.to_string());
        let data = tempfile::Builder::new().prefix("tidegate-bench-").tempdir().map_err(|error| failed(&error))?;
        let mut layers = Layers::defaults();
        for option in options {
            layers.set(option).map_err(|error| failed(&error))?;
        }
        let mut config = layers.finish().map_err(|error| failed(&error))?.config;
        config.server.listen = "127.0.0.1:0".to_owned();
        config.server.admin_listen = "127.0.0.1:0".to_owned();
        config.store.data = data.path().join("data");
        config.store.durability = durability;
        let password = uuid::Uuid::new_v4().to_string();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("tidegate").build();
        let runtime = runtime.map_err(|error| failed(&error))?;
        let setup = Setup { config, root_password: Some(password.clone()), ..Setup::default() };
        let server = runtime.block_on(Server::start(setup)).map_err(|error| failed(&error))?;
        let base = Base::parse(&server.url(), Trust::default())?;
        Ok(InProcess { server: Some(server), runtime: Some(runtime), _data: data, password, base })
    }

    /// Where it is, as text.
    pub fn url(&self) -> String {
        self.base.url()
    }

    /// Where it is.
    pub fn base(&self) -> &Base {
        &self.base
    }

    /// What its store counts; none once it ends.
    pub fn statistics(&self) -> Option<Statistics> {
        self.server.as_ref().map(|server| server.store().statistics())
    }

    /// Of the administrator `root`.
    pub fn password(&self) -> &str {
        &self.password
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        if let (Some(runtime), Some(server)) = (self.runtime.take(), self.server.take()) {
            // On a thread of its own: this may be dropped on a runtime's thread, where nothing may block on another.
            let ending = std::thread::spawn(move || {
                let ended = runtime.block_on(server.shutdown());
                runtime.shutdown_timeout(std::time::Duration::from_secs(5));
                ended
            });
            if let Ok(Err(error)) = ending.join() {
                tracing::warn!(%error, "the server of the bench did not end well");
            }
        }
    }
}
