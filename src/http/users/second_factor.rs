//! `/db/User/mfa/…`: codes of a device beside the password.

use super::attempt::Attempt;
use super::{Account, login, refused};
use crate::auth::credentials::Credentials;
use crate::auth::second_factor::{Code, FactorError, SecondFactor};
use crate::auth::token::Purpose;
use crate::http::Front;
use crate::http::body::{self, Whole};
use crate::http::error::{self, ApiError};
use crate::http::identity::{self, Identity};
use crate::store::BatchError;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use serde::Deserialize;
use std::sync::Arc;

#[derive(Deserialize)]
struct Finish {
    code: Code,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SecondStep {
    auth_token: String,
    code: Code,
}

/// `GET mfa/status`: `DISABLED`, `PENDING` while it is being set up, `REQUIRED` at every login.
pub(in crate::http) async fn status(State(front): State<Arc<Front>>, identity: Identity) -> Result<Response<Body>, ApiError> {
    let account = Account::of_caller(&front, &identity).await?;
    let factor = account.credentials.as_ref().and_then(|credentials| credentials.second_factor.as_ref());
    let status = match factor {
        None => "\"DISABLED\"",
        Some(SecondFactor { confirmed: false, .. }) => "\"PENDING\"",
        Some(_) => "\"REQUIRED\"",
    };
    Ok(body::json(StatusCode::OK, status))
}

/// `GET mfa/init`: a new secret for the user's device. It is needed at logins only when a code has shown that the device has it.
pub(in crate::http) async fn begin(State(front): State<Arc<Front>>, identity: Identity) -> Result<Response<Body>, ApiError> {
    let account = Account::of_caller(&front, &identity).await?;
    let factor = SecondFactor::generate();
    let challenge = factor.challenge(&identity.app.name, account.name()).map_err(uncomputed)?;
    Account::update(&front, &identity, &account.id, |account| {
        let old = account.credentials.clone().unwrap_or_else(|| Credentials::new(None));
        if old.required_factor().is_some() {
            return Err(ApiError::plain(error::SECOND_FACTOR_ON));
        }
        Ok(Credentials { second_factor: Some(factor.clone()), ..old })
    })
    .await?;
    let text = serde_json::to_string(&challenge).map_err(|error| ApiError::new(error::CRASHED, error.to_string()))?;
    let mut response = body::json(StatusCode::OK, text);
    identity::private(&mut response);
    Ok(response)
}

/// `POST mfa/init`: with a right code the second factor is needed from now on.
pub(in crate::http) async fn finish(State(front): State<Arc<Front>>, identity: Identity, body: Whole) -> Result<Response<Body>, ApiError> {
    let Finish { code } = body.json()?;
    let account = Account::of_caller(&front, &identity).await?;
    let attempt = Attempt::at_code(&front, &identity, &account.id)?;
    let now = seconds(&front);
    let account = Account::update(&front, &identity, &account.id, |account| {
        let old = account.credentials.clone().unwrap_or_else(|| Credentials::new(None));
        let factor = old.second_factor.clone().ok_or_else(|| ApiError::new(error::BAD_REQUEST, "GET mfa/init comes first"))?;
        if factor.confirmed {
            return Err(ApiError::plain(error::SECOND_FACTOR_ON));
        }
        factor.step(&code.digits(), now).map_err(uncomputed)?.ok_or_else(|| ApiError::plain(error::BAD_CODE))?;
        Ok(Credentials { second_factor: Some(factor.confirmed()), ..old })
    })
    .await?;
    attempt.succeeded();
    Ok(body::json(StatusCode::OK, account.image.json().clone()))
}

/// `POST mfa/token`: the second step of a login. `authToken` says that the password was right.
pub(in crate::http) async fn log_in(State(front): State<Arc<Front>>, identity: Identity, body: Whole) -> Result<Response<Body>, ApiError> {
    let SecondStep { auth_token, code } = body.json()?;
    let invalid = || ApiError::new(error::BAD_CREDENTIALS, "the login took too long, or the password was changed; log in again");
    let claims = front.authority.redeem(&identity.app.name, &auth_token, Purpose::SecondFactor).ok_or_else(invalid)?;
    let attempt = Attempt::at_code(&front, &identity, &claims.user)?;
    for _ in 0..super::TRIES {
        let account = Account::of(&front, &identity, &claims.user).await?.filter(Account::is_active);
        let mut account = account.filter(|account| account.generation() == claims.generation).ok_or_else(invalid)?;
        let Some(credentials) = account.credentials.clone() else { return Err(invalid()) };
        let Some(factor) = credentials.required_factor() else {
            // Turned off in the meantime by himself.
            return login::enter(&front, &identity, &account);
        };
        let used = factor.login(&code.digits(), seconds(&front)).map_err(uncomputed)?.ok_or_else(|| ApiError::plain(error::BAD_CODE))?;
        match account.put(&front, &identity, Credentials { second_factor: Some(used), ..credentials.clone() }).await {
            Ok(()) => {
                attempt.succeeded();
                return login::enter(&front, &identity, &account);
            }
            // Perhaps another login with the same code.
            Err(BatchError::Conflict) => {}
            Err(error) => return Err(refused(error)),
        }
    }
    Err(refused(BatchError::Conflict))
}

/// `DELETE mfa`: the password alone is enough again.
pub(in crate::http) async fn turn_off(State(front): State<Arc<Front>>, identity: Identity) -> Result<Response<Body>, ApiError> {
    let account = Account::of_caller(&front, &identity).await?;
    Account::update(&front, &identity, &account.id, |account| {
        let old = account.credentials.clone().unwrap_or_else(|| Credentials::new(None));
        Ok(Credentials { second_factor: None, ..old })
    })
    .await?;
    Ok(body::empty())
}

fn uncomputed(error: FactorError) -> ApiError {
    ApiError::new(error::CRASHED, error.to_string())
}

fn seconds(front: &Front) -> u64 {
    u64::try_from(front.clock.now_ms() / 1000).unwrap_or(0)
}
