//! A browser without a screen: follows redirects by hand, keeps cookies, fills in the provider's forms.

use reqwest::header::HeaderMap;
use reqwest::{Client, Method, Url};
use serde_json::Value;
use std::collections::BTreeMap;

/// One browser with its cookies. All servers of a test are on one host, so they share them, as in a real one.
#[derive(Default)]
pub struct Agent {
    pub cookies: BTreeMap<String, String>,
}

/// What came back.
#[derive(Debug)]
pub struct Page {
    pub url: Url,
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Page {
    /// Where it leads.
    pub fn location(&self) -> Option<Url> {
        let location = self.headers.get("location")?.to_str().unwrap();
        Some(self.url.join(location).unwrap())
    }

    /// What the page at the end of a login tells the window that opened it.
    pub fn result(&self) -> Value {
        let start = self.text.find("id=\"result\"").unwrap_or_else(|| panic!("no end of a login: {self:?}"));
        let json = self.text[start..].split_once('>').unwrap().1.split("</script>").next().unwrap();
        serde_json::from_str(json).unwrap()
    }

    /// The token that it brings.
    pub fn token(&self) -> Option<String> {
        self.result()["headers"]["baqend-authorization-token"].as_str().map(str::to_owned)
    }

    /// The status and the stable code of what went wrong.
    pub fn refusal(&self) -> (u64, String) {
        let result = self.result();
        assert!(self.token().is_none(), "{result}");
        let entity: Value = serde_json::from_str(result["entity"].as_str().unwrap()).unwrap();
        (result["status"].as_u64().unwrap(), entity["reason"].as_str().unwrap().to_owned())
    }
}

impl Agent {
    pub async fn get(&mut self, url: &str) -> Page {
        self.ask(Method::GET, url, None).await
    }

    async fn ask(&mut self, method: Method, url: &str, form: Option<String>) -> Page {
        let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut request = client.request(method, url).header("cookie", cookies.join("; ")).header("accept", "text/html");
        if let Some(form) = form {
            request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
        }
        let answer = request.send().await.unwrap();
        let (url, status, headers) = (answer.url().clone(), answer.status().as_u16(), answer.headers().clone());
        for cookie in headers.get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            if value.is_empty() || cookie.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        Page { url, status, headers, text: answer.text().await.unwrap() }
    }

    /// Begins a login and logs in at the provider; where it sends the browser back to, which is not opened yet.
    pub async fn log_in(&mut self, begin: &str, name: &str) -> Url {
        let mut page = self.get(begin).await;
        let back = Url::parse(begin).unwrap();
        for _ in 0..20 {
            if let Some(location) = page.location() {
                if location.port() == back.port() && location.path() == back.path() {
                    return location;
                }
                page = self.get(location.as_str()).await;
                continue;
            }
            // A form of the provider: login, then consent.
            assert_eq!(page.status, 200, "{page:?}");
            let value = |before: &str| Some(page.text.split_once(before)?.1.split('"').next()?.to_owned());
            let action = value("action=\"").unwrap_or_else(|| panic!("no form: {page:?}"));
            let prompt = value("name=\"prompt\" value=\"").unwrap();
            let action = page.url.join(&action).unwrap();
            page = self.ask(Method::POST, action.as_str(), Some(format!("prompt={prompt}&login={name}&password=x"))).await;
        }
        panic!("the login does not end");
    }

    /// A whole login.
    pub async fn whole(&mut self, begin: &str, name: &str) -> Page {
        let back = self.log_in(begin, name).await;
        self.get(back.as_str()).await
    }
}
