//! The page at `/_tidegate/`: a newcomer edits a query and sees its result and its events move.
//!
//! It is static and speaks the public protocol with the visitor's own rights, so serving it gives nobody
//! anything that he could not have without it. `server.console = false` leaves it out. Nothing is fetched
//! from elsewhere, and the policy that it is served with lets nothing be: no script, style or frame of others,
//! also if a value of an object should ever find its way into markup.
//!
//! A class may tell the page what suits it, see [`HINTS`].

use crate::config::ServerOptions;
use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;

/// Where the page is.
pub const PATH: &str = "/_tidegate/";

/// The key in a class's metadata whose value is what the page may use of it, as JSON text, all of it optional:
/// `about` (a line), `columns` (names of fields), `examples` (objects of `label`, `kind` and `query`), `raise`
/// (lets visitors raise a number: `field`, `label`, `count` to be counted up, `by` to be set along).
pub const HINTS: &str = "console";

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html;charset=utf-8";
const CSS: &str = "text/css;charset=utf-8";
const SCRIPT: &str = "text/javascript;charset=utf-8";

/// The files that need nothing put in.
const FILES: [(&str, &str, &str); 8] = [
    ("page.css", CSS, include_str!("page.css")),
    ("page.js", SCRIPT, include_str!("page.js")),
    ("api.js", SCRIPT, include_str!("api.js")),
    ("figures.js", SCRIPT, include_str!("figures.js")),
    ("live.js", SCRIPT, include_str!("live.js")),
    ("table.js", SCRIPT, include_str!("table.js")),
    ("ticker.js", SCRIPT, include_str!("ticker.js")),
    ("values.js", SCRIPT, include_str!("values.js")),
];

/// The page for an API with these options; nothing where it is switched off.
pub fn pages(options: &ServerOptions) -> Router {
    if !options.console {
        return Router::new();
    }
    let page = page(&options.base);
    let mut router = Router::new()
        .route(PATH, get(async move || file(HTML, page.clone())))
        .route(PATH.trim_end_matches('/'), get(async || Redirect::permanent(PATH)));
    for (name, kind, text) in FILES {
        router = router.route(&format!("{PATH}{name}"), get(async move || file(kind, text)));
    }
    router
}

/// The page's markup with the base in it.
fn page(base: &str) -> axum::body::Bytes {
    let escaped = base.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
    include_str!("page.html").replace("{{base}}", &escaped).into()
}

fn file(kind: &'static str, body: impl IntoResponse) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        // The files change with the binary and have no version in their names.
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    (headers, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_the_page_names_is_served() {
        let served = |name: &str| FILES.iter().any(|(file, ..)| *file == name);
        for (_, _, text) in FILES {
            for import in text.split("from \"./").skip(1) {
                let name = import.split('"').next().unwrap_or_default();
                assert!(served(name), "{name}");
            }
        }
        assert!(served("page.css") && served("page.js"));
    }

    #[test]
    fn nothing_comes_from_elsewhere() {
        for text in FILES.iter().map(|(.., text)| *text).chain([include_str!("page.html")]) {
            let foreign = text.match_indices("://").filter(|(at, _)| {
                let before = &text[..*at];
                // Names of vocabularies, and the addresses that scripts put together of the page's own.
                !(text[*at..].starts_with("://www.w3.org/") || before.ends_with("{location.protocol === \"https:\" ? \"wss\" : \"ws\"}"))
            });
            assert_eq!(foreign.count(), 0);
        }
    }

    #[test]
    fn the_base_cannot_break_out() {
        let page = page("\"><script>");
        assert!(!String::from_utf8_lossy(&page).contains("\"><script>"));
    }
}
