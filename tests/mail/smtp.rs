//! The transport against a real SMTP server: in the open, with STARTTLS, with TLS from the start, with a password.

use crate::smtpd::{Nobody, Smtpd};
use crate::support::PATIENCE;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tidegate::clock::Clock;
use tidegate::config::{Config, MailOptions, MailSecurity, MailTransport};
use tidegate::mail::{self, Mail, Mailer, message};
use tokio_util::sync::CancellationToken;

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

/// Milliseconds since 1970; every link works until then.
const LATER: i64 = i64::MAX;

/// With a data directory of its own.
fn start(options: &MailOptions) -> (Mailer, TempDir) {
    let data = TempDir::new().unwrap();
    (start_in(options, data.path(), CancellationToken::new()), data)
}

fn start_in(options: &MailOptions, data: &Path, ended: CancellationToken) -> Mailer {
    mail::start(options, data, Arc::new(Clock::system()), ended).unwrap().unwrap()
}

/// How many mails wait on the disk.
fn waiting(data: &Path) -> usize {
    std::fs::read_dir(data.join("mail-waiting")).unwrap().count()
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
    let (mailer, data) = start(&options(server.port));
    mailer.reserve().unwrap().send(mail("jo@example.org"), LATER).await;
    let got = server.next();
    assert_eq!((got["from"].as_str(), got["to"][0].as_str()), (Some("shop@example.org"), Some("jo@example.org")), "{got}");
    let text = got["text"].as_str().unwrap();
    assert!(text.contains("To: jo@example.org\r\n") && text.contains("Auto-Submitted: auto-generated\r\n"), "{text}");
    // Not ASCII, so encoded; what an encoding does to it is the library's business.
    assert!(text.contains("Subject: =?utf-8?") && text.contains("https://api.example.org/"), "{text}");
    until("counted", || mailer.sent() == 1).await;
    assert_eq!(waiting(data.path()), 0);
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
        let (mailer, _data) = start(&options);
        mailer.reserve().unwrap().send(mail("jo@example.org"), LATER).await;
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
    let (mailer, _data) = start(&MailOptions { security: MailSecurity::Starttls, attempts: 1, ..options(server.port) });
    mailer.reserve().unwrap().send(mail("jo@example.org"), LATER).await;
    until("given up", || mailer.given_up() == 1).await;
    assert!(server.is_silent());
    // Nor does a server that speaks no TLS where some is asked for.
    let server = Smtpd::start(&[]);
    let (mailer, _data) = start(&MailOptions { security: MailSecurity::Starttls, attempts: 1, ..options(server.port) });
    mailer.reserve().unwrap().send(mail("jo@example.org"), LATER).await;
    until("given up", || mailer.given_up() == 1).await;
    assert!(server.is_silent());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_off_is_tried_again_and_what_is_refused_is_not() {
    let server = Smtpd::start(&["--defer", "1", "--refuse", "nobody@example.org"]);
    let (mailer, data) = start(&options(server.port));
    mailer.reserve().unwrap().send(mail("nobody@example.org"), LATER).await;
    until("given up", || mailer.given_up() == 1).await;
    mailer.reserve().unwrap().send(mail("jo@example.org"), LATER).await;
    assert_eq!(server.next()["deferred"], 1);
    assert_eq!(server.next()["to"][0], "jo@example.org");
    until("sent", || mailer.sent() == 1).await;
    assert_eq!((mailer.given_up(), waiting(data.path())), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_is_bounded_and_goes_on_when_the_server_does() {
    // A port where nobody listens yet.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (mailer, data) = start(&MailOptions { queue: 2, attempts: 1, ..options(port) });
    let (one, two) = (mailer.reserve().unwrap(), mailer.reserve().unwrap());
    assert!(mailer.reserve().is_none(), "a third place of two");
    drop(two);
    one.send(mail("jo@example.org"), LATER).await;
    until("given up", || mailer.given_up() == 1).await;
    until("free again", || mailer.reserve().is_some()).await;
    assert_eq!(waiting(data.path()), 0, "what is given up is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_at_the_end_is_sent_by_the_next_process_while_its_link_works() {
    let nobody = Nobody::listen();
    let data = TempDir::new().unwrap();
    let ended = CancellationToken::new();
    let mailer = start_in(&options(nobody.port), data.path(), ended.clone());
    mailer.reserve().unwrap().send(mail("jo@example.org"), LATER).await;
    // One whose link has ended long ago, and one that a crash cut off.
    mailer.reserve().unwrap().send(mail("late@example.org"), 1).await;
    std::fs::write(data.path().join("mail-waiting/.unfinished-x"), "{").unwrap();
    until("given up", || mailer.given_up() == 1).await;
    nobody.called().await;
    ended.cancel();
    // What comes behind the end is kept, too.
    mailer.reserve().unwrap().send(mail("eve@example.org"), LATER).await;
    drop(mailer);
    assert_eq!(waiting(data.path()), 3);

    let server = Smtpd::start(&[]);
    let mailer = start_in(&options(server.port), data.path(), CancellationToken::new());
    let mut got = [0, 1].map(|_| server.next()["to"][0].as_str().unwrap().to_owned());
    got.sort();
    assert_eq!(got, ["eve@example.org", "jo@example.org"]);
    until("sent", || mailer.sent() == 2).await;
    assert_eq!((mailer.given_up(), waiting(data.path())), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_former_process_left_takes_places_as_they_come_free() {
    let nobody = Nobody::listen();
    let data = TempDir::new().unwrap();
    let ended = CancellationToken::new();
    let mailer = start_in(&options(nobody.port), data.path(), ended.clone());
    for n in 0..5 {
        mailer.reserve().unwrap().send(mail(&format!("{n}@example.org")), LATER).await;
    }
    nobody.called().await;
    ended.cancel();
    let server = Smtpd::start(&[]);
    let mailer = start_in(&MailOptions { queue: 1, ..options(server.port) }, data.path(), CancellationToken::new());
    let got: Vec<_> = (0..5).map(|_| server.next()["to"][0].as_str().unwrap().to_owned()).collect();
    assert_eq!(got, [0, 1, 2, 3, 4].map(|n| format!("{n}@example.org")), "the oldest first");
    until("free again", || mailer.reserve().is_some()).await;
}

fn refused(options: &MailOptions) -> mail::MailError {
    let data = TempDir::new().unwrap();
    mail::start(options, data.path(), Arc::new(Clock::system()), CancellationToken::new()).unwrap_err()
}

#[test]
fn a_password_never_travels_in_the_open() {
    let folder = TempDir::new().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "hush").unwrap();
    let at = place(&format!("file:{}", password.display()));
    let outside = MailOptions { host: "mail.example.org".into(), username: "shop".into(), password: at, ..options(25) };
    assert_eq!(refused(&outside).code(), "mail-option");
    let without = MailOptions { password: None, ..outside.clone() };
    assert_eq!(refused(&without).code(), "mail-option");
    let missing = MailOptions { password: place("file:/no/such/file"), host: "127.0.0.1".into(), ..outside };
    assert_eq!(refused(&missing).code(), "config-secret");
}
