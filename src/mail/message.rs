//! What is written to users, and the links in it.
//!
//! Links are made of the configured public URL alone. A `Host` header is the client's: a link made of it would send somebody
//! else's token to a server of his choice.

use super::SendError;
use lettre::Message;
use lettre::message::{Mailbox, header::ContentType};

/// A mail to one user.
#[derive(Clone, PartialEq, Eq)]
pub struct Mail {
    /// The user's address
    pub to: lettre::Address,
    /// One line
    pub subject: String,
    /// Plain text
    pub text: String,
}

/// The text holds a link that logs in.
impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mail").field("subject", &self.subject).finish_non_exhaustive()
    }
}

impl Mail {
    /// As it travels.
    pub(super) fn build(&self, from: &Mailbox) -> Result<Message, SendError> {
        Message::builder()
            .from(from.clone())
            .to(Mailbox::new(None, self.to.clone()))
            .subject(self.subject.clone())
            // Nobody's absence notice is to answer these.
            .raw_header(lettre::message::header::HeaderValue::new(
                lettre::message::header::HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".into(),
            ))
            .header(ContentType::TEXT_PLAIN)
            .body(self.text.clone())
            .map_err(|error| SendError::Never(error.to_string()))
    }
}

/// The address that a user name is; none if it is something else.
pub fn address(username: &str) -> Option<lettre::Address> {
    username.parse().ok()
}

/// Where the links in mails lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Links {
    /// Such as `https://api.example.org`, without a slash at the end
    pub public_url: String,
    /// The app's own page for a new password; empty: the server's
    pub reset_url: String,
}

impl Links {
    /// Somebody registered with this address. `word`: the first of the API's path.
    pub fn verify(&self, to: lettre::Address, word: &str, token: &str) -> Mail {
        let link = format!("{}/{word}/db/User/verify?token={token}", self.public_url);
        let text = format!(
            "Somebody, probably you, registered with this address. To finish it, open this link:\n\n{link}\n\n\
             If it was not you, do nothing: without the link nobody can log in.\n"
        );
        Mail { to, subject: "Please confirm your address".into(), text }
    }

    /// Somebody wants a new password. The token stands in the fragment, which no server and no log gets.
    pub fn reset(&self, to: lettre::Address, word: &str, token: &str) -> Mail {
        let link = match &*self.reset_url {
            "" => format!("{}/{word}/db/User/reset#token={token}", self.public_url),
            own => format!("{own}#token={token}"),
        };
        let text = format!(
            "Somebody, probably you, asked for a new password. To choose one, open this link:\n\n{link}\n\n\
             It works once. If it was not you, do nothing: your password stays as it is.\n"
        );
        Mail { to, subject: "Choose a new password".into(), text }
    }

    /// A user wants this address to be his name.
    pub fn rename(&self, to: lettre::Address, word: &str, token: &str) -> Mail {
        let link = format!("{}/{word}/db/User/verifyUsername?token={token}", self.public_url);
        let text = format!(
            "Somebody, probably you, wants to log in with this address from now on. To confirm it, open this link:\n\n{link}\n\n\
             If it was not you, do nothing.\n"
        );
        Mail { to, subject: "Please confirm your new address".into(), text }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_user_name_gets_into_the_head_of_a_mail() {
        for name in ["joe", "joe@", "a@b.c\r\nBcc: x@y.z", "a@b.c, x@y.z", "<a@b.c>", "Joe <a@b.c>", "a@b c", ""] {
            assert_eq!(address(name), None, "{name:?}");
        }
        let links = Links { public_url: "https://api.example.org".into(), reset_url: String::new() };
        let mail = links.verify(address("jo@example.org").unwrap(), "v1", "abc");
        let text = String::from_utf8(mail.build(&"Shop <shop@example.org>".parse().unwrap()).unwrap().formatted()).unwrap();
        assert!(text.contains("To: jo@example.org\r\n") && text.contains("Auto-Submitted: auto-generated"), "{text}");
        assert!(mail.text.contains("\nhttps://api.example.org/v1/db/User/verify?token=abc\n"), "{}", mail.text);
    }

    #[test]
    fn tokens_that_log_in_stand_where_no_server_sees_them() {
        let own = Links { public_url: "https://api".into(), reset_url: "https://app/new-password".into() };
        let to = address("jo@example.org").unwrap();
        assert!(own.reset(to.clone(), "v1", "abc").text.contains("\nhttps://app/new-password#token=abc\n"));
        let links = Links { reset_url: String::new(), ..own };
        assert!(links.reset(to, "v1", "abc").text.contains("\nhttps://api/v1/db/User/reset#token=abc\n"));
        assert!(!format!("{:?}", links.verify(address("a@b.cc").unwrap(), "v1", "abc")).contains("abc"));
    }
}
