//! `/db/User/…` and `/db/Role/…/assume`: who logs in, and by what (docs/users.md). One concern a file.
//!
//! * [`login`]: login, me, validate, logout, and how every login ends
//! * [`register`]: new users
//! * [`password`]: new passwords
//! * [`tokens`]: tokens for programs, and the end of tokens
//! * [`second_factor`]: codes beside the password
//! * [`assume`]: the rights of one role alone
//! * `verify`, `reset`, `username`: what users are sent links for, over `mailed`
//! * `oauth`: login at a provider
//! * [`attempt`]: the brake on guessing
//!
//! On these paths the SDK takes every 403 for a question for the second factor, and every 404 for nobody: what is refused
//! for other reasons is 460 or 466.

pub(super) mod assume;
pub(super) mod attempt;
pub(super) mod login;
mod mailed;
mod oauth;
pub(super) mod password;
pub(super) mod register;
mod reset;
pub(super) mod second_factor;
pub(super) mod tokens;
mod username;
mod verify;

use super::Front;
use super::error::{self, ApiError};
use super::identity::Identity;
use crate::auth::credentials::Credentials;
use crate::auth::password::PasswordError;
use crate::object::id;
use crate::rights::secrets::LONGEST_NAME;
use crate::rights::{USERS, is_inactive};
use crate::store::{Actor, Batch, BatchCommitted, BatchError, Decision, Refusal, Write};
use axum::Router;
use axum::routing::{delete, get, post};
use dataflows::change::{Image, Writer};
use dataflows::document::Value;
use std::sync::Arc;

pub(super) use login::visible;

/// How often a change of credentials is tried that others change at the same time.
const TRIES: usize = 8;

/// The paths of this room.
pub(super) fn routes() -> Router<Arc<Front>> {
    Router::new()
        .route("/db/User/register", post(register::register))
        .route("/db/User/login", post(login::login))
        .route("/db/User/logout", get(login::logout))
        .route("/db/User/me", get(login::me))
        .route("/db/User/validate", get(login::me))
        .route("/db/User/password", post(password::change))
        .route("/db/User/verify", get(verify::verify))
        .route("/db/User/reset", get(reset::page).post(reset::reset))
        .route("/db/User/changeUsername", post(username::change))
        .route("/db/User/verifyUsername", get(username::verify))
        .route("/db/User/OAuth/{provider}", get(oauth::oauth))
        .route("/db/User/mfa", delete(second_factor::turn_off))
        .route("/db/User/mfa/status", get(second_factor::status))
        .route("/db/User/mfa/init", get(second_factor::begin).post(second_factor::finish))
        .route("/db/User/mfa/token", post(second_factor::log_in))
        .route("/db/User/{oid}/token", post(tokens::issue).delete(tokens::revoke))
        .route("/db/Role/{oid}/assume", post(assume::assume))
}

/// A user with what proves that he is he.
#[derive(Debug, Clone)]
pub(super) struct Account {
    /// Canonical
    pub(super) id: Arc<str>,
    /// His object, whoever may read it
    pub(super) image: Arc<Image>,
    /// None if he never had any
    pub(super) credentials: Option<Credentials>,
}

impl Account {
    /// By the id of the user's object.
    pub(super) async fn of(front: &Front, identity: &Identity, user: &Arc<str>) -> Result<Option<Account>, ApiError> {
        let key = id::key(&identity.app.name, &Arc::from("User"), user.clone());
        let Some(image) = front.store.snapshot().await?.get(&key).await? else { return Ok(None) };
        let credentials = Credentials::read(&*front.secrets, &identity.app.name, user)?;
        Ok(Some(Account { id: user.clone(), image, credentials }))
    }

    /// By name, as it is spelt: found through the built-in index, by which names are unique, however many users there are.
    pub(super) async fn named(front: &Front, identity: &Identity, name: &str) -> Result<Option<Account>, ApiError> {
        if name.is_empty() || name.len() > LONGEST_NAME {
            return Ok(None);
        }
        let app = &identity.app.name;
        let found = front.store.snapshot().await?.find(app, &Arc::from(USERS), "username", name).await?;
        // A query finds a list by one of its elements too; such a one is nobody's name.
        let Some(image) = found.filter(|image| text_of(image, "username") == Some(name)) else { return Ok(None) };
        let Some(id) = text_of(&image, "id").map(Arc::<str>::from) else { return Ok(None) };
        let credentials = Credentials::read(&*front.secrets, app, &id)?;
        Ok(Some(Account { id, image, credentials }))
    }

    /// The one who asks, if he has logged in as himself.
    pub(super) async fn of_caller(front: &Front, identity: &Identity) -> Result<Account, ApiError> {
        let account = match &identity.session.user {
            Some(user) => Account::of(front, identity, user).await?,
            None => None,
        };
        account.ok_or_else(|| ApiError::new(error::DENIED, "log in first: this is about the user who asks"))
    }

    /// Whether he is the one who asks, logged in as himself.
    pub(super) fn is_of_caller(&self, identity: &Identity) -> bool {
        identity.session.user.as_ref() == Some(&self.id)
    }

    /// Whether he may log in.
    pub(super) fn is_active(&self) -> bool {
        !is_inactive(Some(&self.image))
    }

    /// What he logs in by.
    pub(super) fn name(&self) -> &str {
        text_of(&self.image, "username").unwrap_or_default()
    }

    /// What tokens of his are of.
    pub(super) fn generation(&self) -> u32 {
        self.credentials.as_ref().map_or(0, |credentials| credentials.generation)
    }

    /// Puts new credentials in the place of those that this account was read with; with a higher generation the tokens of
    /// older ones die. [`BatchError::Conflict`]: they are not there any more.
    pub(super) async fn put(&mut self, front: &Front, identity: &Identity, new: Credentials) -> Result<(), BatchError> {
        let app = &identity.app.name;
        let raised = new.generation > self.generation();
        let batch = Batch {
            // Nobody who is gone gets any.
            writes: vec![still_there(identity, &self.id)],
            secrets: vec![new.write(app, &self.id, Some(self.credentials.as_ref()))?],
            revocations: raised.then(|| front.authority.revocation(app, &self.id, new.generation)).into_iter().collect(),
        };
        commit(front, batch).await?;
        self.credentials = Some(new);
        Ok(())
    }

    /// Changes credentials as long as others change them at the same time. `change`: the new ones of those that are there.
    pub(super) async fn update(
        front: &Front,
        identity: &Identity,
        user: &Arc<str>,
        change: impl Fn(&Account) -> Result<Credentials, ApiError>,
    ) -> Result<Account, ApiError> {
        for _ in 0..TRIES {
            let Some(mut account) = Account::of(front, identity, user).await? else { break };
            let new = change(&account)?;
            match account.put(front, identity, new).await {
                Ok(()) => return Ok(account),
                Err(BatchError::Conflict) => {}
                Err(error) => return Err(refused(error)),
            }
        }
        Err(ApiError::new(error::NO_SUCH_OBJECT, format!("there is no user {user}, or others change his credentials all the time")))
    }
}

/// Changes nothing, and refuses where the user is gone.
fn still_there(identity: &Identity, user: &Arc<str>) -> Write {
    let id = user.to_string();
    Write {
        key: id::key(&identity.app.name, &Arc::from("User"), user.clone()),
        decide: Arc::new(move |before, _| before.map(|_| Decision::Nothing).ok_or_else(|| Refusal::Missing(id.clone()))),
        actor: Actor::server(),
        writer: Writer::default(),
    }
}

/// Commits what belongs together, and measures how long that takes.
pub(super) async fn commit(front: &Front, batch: Batch) -> Result<BatchCommitted, BatchError> {
    let began = std::time::Instant::now();
    let committed = front.store.commit_batch(batch).await?;
    front.metrics.commit_seconds.observe(began.elapsed());
    Ok(committed)
}

/// A refused batch as clients see it.
pub(super) fn refused(refused: BatchError) -> ApiError {
    match refused {
        BatchError::Store(error) | BatchError::Write { error, .. } => error.into(),
        BatchError::Conflict => ApiError::new(error::BUSY, refused.to_string()),
    }
}

/// What went wrong with hashing, as clients see it.
pub(super) fn unhashed(failed: PasswordError) -> ApiError {
    match failed {
        PasswordError::Busy => ApiError::new(error::BUSY, failed.to_string()),
        PasswordError::Store(error) => error.into(),
        failed => ApiError::new(error::CRASHED, failed.to_string()),
    }
}

/// A text field of a user's object.
fn text_of<'i>(image: &'i Image, name: &str) -> Option<&'i str> {
    match image.document.root().get(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}
