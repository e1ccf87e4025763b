//! A bucket of an app of a running server, as its `root`: what export, import and truncate have in common.

use super::Failure;
use crate::config::ServerOptions;
use clap::Args;
use futures_util::StreamExt;
use serde_json::Value;

/// Which bucket, where, and who asks.
#[derive(Debug, Args)]
pub(super) struct BucketArgs {
    /// The bucket, without /db/
    pub(super) bucket: String,
    /// Password of the app's administrator `root`
    #[arg(long, value_name = "PW", env = "TIDEGATE_ADMIN_PASSWORD", hide_env_values = true)]
    admin_password: Option<String>,
    /// URL of the app's API, such as http://127.0.0.1:8080/v1 [default: from the configuration]
    #[arg(long, value_name = "URL", env = "TIDEGATE_SERVER_URL")]
    api: Option<String>,
}

/// Logged in as root.
pub(super) struct Bucket {
    client: reqwest::Client,
    url: String,
    token: String,
}

impl Bucket {
    /// Logs in.
    pub(super) async fn open(args: &BucketArgs, server: &ServerOptions) -> Result<Bucket, Failure> {
        let password = args.admin_password.as_deref().ok_or("give the password of root in TIDEGATE_ADMIN_PASSWORD")?;
        let api = args.api.clone().unwrap_or_else(|| format!("http://{}/{}", server.listen, server.base));
        let client = reqwest::Client::new();
        let login = serde_json::json!({"username": "root", "password": password});
        let answer = client.post(format!("{api}/db/User/login")).json(&login).send().await?;
        if !answer.status().is_success() {
            return Err(format!("the server at {api} refused the login of root: {}", message(answer).await).into());
        }
        let token = answer.headers().get("baqend-authorization-token").and_then(|token| token.to_str().ok());
        let token = token.ok_or_else(|| format!("{api} is no server of Tidegate: the login brought no token"))?.to_owned();
        Ok(Bucket { client, url: format!("{api}/db/{}", args.bucket), token })
    }

    /// Asks for something; `query` with its question mark. What is no success is an error that says so.
    pub(super) async fn ask(
        &self,
        method: reqwest::Method,
        query: &str,
        body: Option<reqwest::Body>,
    ) -> Result<reqwest::Response, Failure> {
        let request = self.client.request(method, format!("{}{query}", self.url)).header("authorization", format!("BAT {}", self.token));
        let request = request.header("accept", "application/x-ndjson");
        let request = match body {
            Some(body) => request.header("content-type", "application/x-ndjson").body(body),
            None => request,
        };
        let answer = request.send().await?;
        if answer.status().is_success() { Ok(answer) } else { Err(format!("{} refused: {}", self.url, message(answer).await).into()) }
    }
}

/// What an error's body says.
async fn message(answer: reqwest::Response) -> String {
    let status = answer.status();
    let body: Option<Value> = answer.json().await.ok();
    body.and_then(|body| body.get("message")?.as_str().map(str::to_owned)).unwrap_or_else(|| status.to_string())
}

/// Shows each step of a long request; the last one, if it says that all is done.
pub(super) async fn follow(answer: reqwest::Response, mut show: impl FnMut(&Value)) -> Result<Value, Failure> {
    let (mut stream, mut rest) = (answer.bytes_stream(), Vec::new());
    let mut last = Value::Null;
    let broken = loop {
        match stream.next().await {
            Some(Ok(piece)) => rest.extend_from_slice(&piece),
            Some(Err(error)) => break error.to_string(),
            None => break "the answer ended early".to_owned(),
        }
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            last = serde_json::from_slice(&line)?;
            show(&last);
            if last["done"] == true {
                return Ok(last);
            }
        }
    };
    match last["error"]["message"].as_str() {
        Some(error) => Err(error.into()),
        None => Err(broken.into()),
    }
}
