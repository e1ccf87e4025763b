//! A running server's listener of administration, as `root`.

use super::{ConfigArgs, Failure, TrustArgs, runtime};
use crate::client::api::{Api, Media, whole};
use crate::client::endpoint::Endpoint;
use crate::config::ServerOptions;
use clap::Args;
use hyper::Method;
use serde_json::Value;

/// Where the server is, and who asks.
#[derive(Debug, Args)]
pub(super) struct AdministrationArgs {
    /// Password of the administrator `root`
    #[arg(long, value_name = "PW", env = "TIDEGATE_ADMIN_PASSWORD", hide_env_values = true)]
    pub(super) admin_password: Option<String>,
    /// URL of the API, with its base, to log in there [default: the listener of administration takes logins too]
    #[arg(long, value_name = "URL", env = "TIDEGATE_SERVER_URL")]
    api: Option<String>,
    /// URL of the listener of administration [default: from the configuration]
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
    #[command(flatten)]
    trust: TrustArgs,
}

impl AdministrationArgs {
    /// Logs in.
    pub(super) async fn sign_in(&self, server: &ServerOptions) -> Result<Api, Failure> {
        let password = self.admin_password.as_deref().ok_or("give the password of root in TIDEGATE_ADMIN_PASSWORD")?;
        let admin = match &self.admin {
            Some(url) => Endpoint::parse(url)?,
            None => Endpoint::parse(&format!("http://{}", server.admin_listen))?,
        };
        let login = self.api.as_deref().map_or_else(|| Ok(admin.clone()), Endpoint::parse)?;
        Ok(Api::sign_in(&login, admin, &self.trust.read()?, password).await?)
    }
}

/// A command that asks for something once and shows the answer.
#[derive(Debug, Args)]
pub(super) struct Asking {
    #[command(flatten)]
    options: ConfigArgs,
    #[command(flatten)]
    administration: AdministrationArgs,
    /// For machines
    #[arg(long)]
    pub(super) json: bool,
}

impl Asking {
    /// Asks the listener of administration.
    pub(super) fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(Value, ServerOptions), Failure> {
        let server = self.options.load()?.config.server;
        let answer = runtime()?.block_on(async {
            let api = self.administration.sign_in(&server).await?;
            let body = body.map(|body| whole(body.to_string()));
            Ok::<_, Failure>(api.ask(method, path, Media::Json, body).await?.json().await?)
        })?;
        Ok((answer, server))
    }
}
