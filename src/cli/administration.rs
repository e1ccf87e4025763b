//! A running server's listener of administration, as `root`.

use super::Failure;
use crate::config::ServerOptions;
use clap::Args;

/// Where the server is, and who asks.
#[derive(Debug, Args)]
pub(super) struct AdministrationArgs {
    /// Password of the administrator `root`
    #[arg(long, value_name = "PW", env = "TIDEGATE_ADMIN_PASSWORD", hide_env_values = true)]
    pub(super) admin_password: Option<String>,
    /// URL of the API, with its base, to log in there [default: the listener of administration takes logins too]
    #[arg(long, value_name = "URL", env = "TIDEGATE_SERVER_URL")]
    pub(super) api: Option<String>,
    /// URL of the listener of administration [default: from the configuration]
    #[arg(long, value_name = "URL")]
    pub(super) admin: Option<String>,
}

/// Logged in as root.
pub(super) struct Administration {
    client: reqwest::Client,
    admin: String,
    token: String,
}

impl Administration {
    /// Logs in.
    pub(super) async fn sign_in(args: &AdministrationArgs, server: &ServerOptions) -> Result<Administration, Failure> {
        let password = args.admin_password.as_deref().ok_or("give the password of root in TIDEGATE_ADMIN_PASSWORD")?;
        let admin = args.admin.clone().unwrap_or_else(|| format!("http://{}", server.admin_listen));
        let api = args.api.clone().unwrap_or_else(|| admin.clone());
        let client = reqwest::Client::new();
        let login = serde_json::json!({"username": "root", "password": password});
        let answer = client.post(format!("{api}/db/User/login")).json(&login).send().await?;
        if !answer.status().is_success() {
            return Err(format!("the server at {api} refused the login of root: {}", message(answer).await).into());
        }
        let token = answer.headers().get("baqend-authorization-token").and_then(|token| token.to_str().ok());
        let token = token.ok_or_else(|| format!("{api} is no server of Tidegate: the login brought no token"))?.to_owned();
        Ok(Administration { client, admin, token })
    }

    /// Asks for something; what is no success is an error that says so.
    pub(super) async fn ask(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<reqwest::Response, Failure> {
        let request = self.client.request(method, format!("{}{path}", self.admin)).header("authorization", format!("BAT {}", self.token));
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let answer = request.send().await?;
        if answer.status().is_success() {
            Ok(answer)
        } else {
            Err(format!("the server at {} refused: {}", self.admin, message(answer).await).into())
        }
    }
}

/// What an error's body says.
async fn message(answer: reqwest::Response) -> String {
    let status = answer.status();
    let body: Option<serde_json::Value> = answer.json().await.ok();
    body.and_then(|body| body.get("message")?.as_str().map(str::to_owned)).unwrap_or_else(|| status.to_string())
}
