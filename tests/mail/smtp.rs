//! The transport against a real SMTP server: in the open, with STARTTLS, with TLS from the start, with a password.

use crate::smtpd::Smtpd;
use crate::support::PATIENCE;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use tidegate::config::{Config, MailOptions, MailSecurity, MailTransport};
use tidegate::mail::{self, Mail, Mailer, message};

fn options(port: u16) -> MailOptions {
    MailOptions {
        transport: MailTransport::Smtp,
        host: "127.0.0.1".into(),
        port,
        security: MailSecurity::None,
        from: "Shop <shop@example.org>".into(),
        ..Config::default().mail
    }
}

fn mail(to: &str) -> Mail {
    Mail { to: message::address(to).unwrap(), subject: "Grüße".into(), text: "Open this:\n\nhttps://api.example.org/ä\n".into() }
}

fn start(options: &MailOptions) -> Mailer {
    mail::start(options, Path::new("/nowhere")).unwrap().unwrap()
}

/// A certificate for the server's address: (folder, certificate, key).
fn certificate() -> (TempDir, String, String) {
    let folder = TempDir::new().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let text = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
    (folder, text(cert), text(key))
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "not {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_arrives_as_it_was_written() {
    let server = Smtpd::start(&[]);
    let mailer = start(&options(server.port));
    mailer.reserve().unwrap().send(mail("jo@example.org"));
    let got = server.next();
    assert_eq!((got["from"].as_str(), got["to"][0].as_str()), (Some("shop@example.org"), Some("jo@example.org")), "{got}");
    let text = got["text"].as_str().unwrap();
    assert!(text.contains("To: jo@example.org\r\n") && text.contains("Auto-Submitted: auto-generated\r\n"), "{text}");
    // Not ASCII, so encoded; what an encoding does to it is the library's business.
    assert!(text.contains("Subject: =?utf-8?") && text.contains("https://api.example.org/"), "{text}");
    until("counted", || mailer.sent() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn starttls_and_tls_with_a_password() {
    let (folder, cert, key) = certificate();
    let password = folder.path().join("password");
    std::fs::write(&password, "hush hush\n").unwrap();
    for (security, implicit) in [(MailSecurity::Starttls, false), (MailSecurity::Tls, true)] {
        let mut arguments = vec!["--cert", &cert, "--key", &key, "--user", "shop", "--password", "hush hush"];
        arguments.extend(implicit.then_some("--implicit"));
        let server = Smtpd::start(&arguments);
        let at = place(&format!("file:{}", password.display()));
        let options = MailOptions { security, ca_file: cert.clone().into(), username: "shop".into(), password: at, ..options(server.port) };
        start(&options).reserve().unwrap().send(mail("jo@example.org"));
        let got = server.next();
        assert_eq!((got["tls"].as_bool(), got["authenticated"].as_bool()), (Some(true), Some(true)), "{got}");
    }
}

/// As the configuration reads it.
fn place(place: &str) -> Option<tidegate::config::SecretPlace> {
    #[derive(serde::Deserialize)]
    struct Read {
        place: tidegate::config::SecretPlace,
    }
    Some(toml::from_str::<Read>(&format!("place = {place:?}")).unwrap().place)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_nobody_gets_no_mail() {
    let (_folder, cert, key) = certificate();
    let server = Smtpd::start(&["--cert", &cert, "--key", &key]);
    let mailer = start(&MailOptions { security: MailSecurity::Starttls, attempts: 1, ..options(server.port) });
    mailer.reserve().unwrap().send(mail("jo@example.org"));
    until("given up", || mailer.given_up() == 1).await;
    assert!(server.is_silent());
    // Nor does a server that speaks no TLS where some is asked for.
    let server = Smtpd::start(&[]);
    let mailer = start(&MailOptions { security: MailSecurity::Starttls, attempts: 1, ..options(server.port) });
    mailer.reserve().unwrap().send(mail("jo@example.org"));
    until("given up", || mailer.given_up() == 1).await;
    assert!(server.is_silent());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_off_is_tried_again_and_what_is_refused_is_not() {
    let server = Smtpd::start(&["--defer", "1", "--refuse", "nobody@example.org"]);
    let mailer = start(&options(server.port));
    mailer.reserve().unwrap().send(mail("nobody@example.org"));
    until("given up", || mailer.given_up() == 1).await;
    mailer.reserve().unwrap().send(mail("jo@example.org"));
    assert_eq!(server.next()["deferred"], 1);
    assert_eq!(server.next()["to"][0], "jo@example.org");
    until("sent", || mailer.sent() == 1).await;
    assert_eq!(mailer.given_up(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_is_bounded_and_goes_on_when_the_server_does() {
    // A port where nobody listens yet.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mailer = start(&MailOptions { queue: 2, attempts: 1, ..options(port) });
    let (one, two) = (mailer.reserve().unwrap(), mailer.reserve().unwrap());
    assert!(mailer.reserve().is_none(), "a third place of two");
    drop(two);
    one.send(mail("jo@example.org"));
    until("given up", || mailer.given_up() == 1).await;
    until("free again", || mailer.reserve().is_some()).await;
}

#[test]
fn a_password_never_travels_in_the_open() {
    let folder = TempDir::new().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "hush").unwrap();
    let at = place(&format!("file:{}", password.display()));
    let outside = MailOptions { host: "mail.example.org".into(), username: "shop".into(), password: at, ..options(25) };
    assert_eq!(mail::start(&outside, folder.path()).unwrap_err().code(), "mail-option");
    let without = MailOptions { password: None, ..outside.clone() };
    assert_eq!(mail::start(&without, folder.path()).unwrap_err().code(), "mail-option");
    let missing = MailOptions { password: place("file:/no/such/file"), host: "127.0.0.1".into(), ..outside };
    assert_eq!(mail::start(&missing, folder.path()).unwrap_err().code(), "config-secret");
}
