//! Pages that the server itself shows: small, without anything from elsewhere, each with a policy that lets nothing else run.

use super::identity;
use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};

/// What a page is made of. The texts are written into it as they are.
pub(super) struct Page<'p> {
    pub(super) status: StatusCode,
    pub(super) title: &'p str,
    /// HTML
    pub(super) body: &'p str,
    /// Data for the script, each as (id, JSON)
    pub(super) data: &'p [(&'p str, &'p str)],
    /// JavaScript; empty: none
    pub(super) script: &'p str,
    /// Who may show it in a frame, as sources of a policy
    pub(super) framed_by: &'p str,
}

impl Page<'_> {
    /// The answer. It is the caller's alone: no cache keeps it.
    pub(super) fn answer(&self) -> Response<Body> {
        // Only the script that stands here runs, whatever a text might smuggle in.
        let nonce: u128 = rand::random();
        let mut html = format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{}</title>\
             <meta name=\"viewport\" content=\"width=device-width\">{}",
            text(self.title),
            self.body
        );
        for (id, json) in self.data {
            html.push_str(&format!("<script type=\"application/json\" id=\"{id}\">{}</script>", embedded(json)));
        }
        if !self.script.is_empty() {
            html.push_str(&format!("<script nonce=\"{nonce:032x}\">{}</script>", self.script));
        }
        let policy = format!(
            "default-src 'none'; script-src 'nonce-{nonce:032x}'; connect-src 'self'; style-src 'unsafe-inline'; form-action 'none'; \
             base-uri 'none'; frame-ancestors {}",
            self.framed_by
        );
        let mut response = Response::new(Body::from(html));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        let policy = HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        identity::private(&mut response);
        response
    }
}

/// JSON that can stand in a page: nothing in it ends the script element or begins a comment. It means the same.
pub(super) fn embedded(json: &str) -> String {
    json.replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

/// A text that can stand in a page.
pub(super) fn text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn nothing_in_data_ends_the_script_that_it_stands_in() {
        let evil = r#"{"name":"</script><script>alert(1)</script><!--"}"#;
        let page = Page {
            status: StatusCode::OK,
            title: "<b>",
            body: "",
            data: &[("result", evil)],
            script: "run()",
            framed_by: "https://app.example.org",
        };
        let answer = page.answer();
        let policy = answer.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
        assert!(policy.ends_with("frame-ancestors https://app.example.org"), "{policy}");
        assert_eq!(answer.headers()[header::CACHE_CONTROL], "private, no-store");
        let html = String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().into()).unwrap();
        assert_eq!(html.matches("</script>").count(), 2, "{html}");
        assert!(html.contains("<title>&lt;b&gt;</title>") && !html.contains("<!--"), "{html}");
        let data = html.split("id=\"result\">").nth(1).unwrap().split("</script>").next().unwrap();
        let (meant, wrote): (serde_json::Value, serde_json::Value) =
            (serde_json::from_str(evil).unwrap(), serde_json::from_str(data).unwrap());
        assert_eq!(meant, wrote);
    }
}
