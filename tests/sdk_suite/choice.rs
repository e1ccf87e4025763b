//! Which part of the suites runs: all, or what the environment names.

use std::fmt;

/// How the SDK talks to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        })
    }
}

/// What is to run of one version over one scheme.
#[derive(Debug)]
pub struct Choice {
    /// All, if there is none
    files: Vec<String>,
    /// Of the titles of tests
    pub grep: Option<String>,
    /// One that runs already
    pub server: Option<String>,
}

impl Choice {
    /// None: nothing of this version and scheme.
    pub fn from_environment(version: &str, scheme: Scheme) -> Option<Choice> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let choice = Choice { files: Vec::new(), grep: variable("TIDEGATE_SUITE_GREP"), server: variable("TIDEGATE_SUITE_SERVER") };
        match variable("TIDEGATE_SUITE") {
            Some(text) => choice.named(&text, version, scheme),
            None => choice.of(scheme),
        }
    }

    /// `VERSION[:FILE,FILE…[:SCHEME]]`
    fn named(self, text: &str, version: &str, scheme: Scheme) -> Option<Choice> {
        let mut words = text.split(':');
        let known = ["3.4.1", "3.1.4"];
        let named = words.next().unwrap_or_default();
        assert!(known.contains(&named), "TIDEGATE_SUITE begins with one of {known:?}, not with {named:?}");
        let files = words.next().unwrap_or_default().split(',').filter(|file| !file.is_empty()).map(str::to_owned).collect();
        let over = words.next().map_or(Scheme::Http.to_string(), str::to_owned);
        (named == version && over == scheme.to_string()).then_some(Choice { files, ..self })
    }

    /// A running server has one scheme.
    fn of(self, scheme: Scheme) -> Option<Choice> {
        let fits = self.server.as_ref().is_none_or(|url| url.starts_with(&format!("{scheme}://")));
        fits.then_some(self)
    }

    pub fn wants(&self, file: &str) -> bool {
        self.files.is_empty() || self.files.iter().any(|wanted| wanted == file)
    }
}
