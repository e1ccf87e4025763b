//! One provider: where it is found, which keys it signs with, whom it vouches for.

use super::OidcError;
use super::client::Client;
use crate::config::OidcOptions;
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreErrorResponseType, CoreGenderClaim, CoreJsonWebKey, CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm, CoreProviderMetadata, CoreResponseType, CoreRevocableToken, CoreRevocationErrorResponse,
    CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AdditionalClaims, AuthenticationFlow, AuthorizationCode, ClaimsVerificationError, ClientId, ClientSecret, CsrfToken,
    EmptyExtraTokenFields, EndpointMaybeSet, EndpointNotSet, EndpointSet, IdTokenClaims, IdTokenFields, IssuerUrl, Nonce,
    OAuth2TokenResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope, SignatureVerificationError, StandardErrorResponse,
    StandardTokenResponse, TokenResponse, UserInfoClaims,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt::Display;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// What a provider says of itself is read again after this.
const FRESH: Duration = Duration::from_secs(3600);

/// Claims beyond the standard ones, as they stand in a token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
struct Others(Map<String, Value>);

impl AdditionalClaims for Others {}

type Fields = IdTokenFields<Others, EmptyExtraTokenFields, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm>;
type Answer = StandardTokenResponse<Fields, CoreTokenType>;
type OidcClient = openidconnect::Client<
    Others,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    Answer,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// Signatures that nobody can make who only has the client secret.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// A provider.
#[derive(Debug)]
pub struct Provider {
    options: OidcOptions,
    secret: Option<ClientSecret>,
    client: Client,
    known: Mutex<Option<(Instant, CoreProviderMetadata)>>,
}

/// Somebody for whom a provider vouches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The provider's own name for itself
    pub issuer: String,
    /// The provider's name for him, never given to another
    pub subject: String,
    /// The user name that he would have; none if the provider does not say, or has not verified that the address is his
    pub username: Option<String>,
}

/// What a login begins with.
#[derive(Debug)]
pub struct Beginning {
    /// Where the browser goes
    pub url: String,
    /// What the provider brings back
    pub state: String,
    /// What stands in the id token
    pub nonce: String,
    /// What proves to the provider that it is the same client
    pub verifier: String,
}

impl Provider {
    pub(super) fn new(options: OidcOptions, client: Client) -> Result<Provider, OidcError> {
        let secret = options.client_secret.as_ref().map(|place| place.read()).transpose()?.map(ClientSecret::new);
        Ok(Provider { options, secret, client, known: Mutex::default() })
    }

    /// Its name in URLs.
    pub fn name(&self) -> &str {
        &self.options.name
    }

    /// Its issuer, as configured.
    pub fn issuer(&self) -> &str {
        &self.options.issuer
    }

    /// Begins a login. `back`: where the provider sends the browser afterwards.
    pub async fn begin(&self, back: &str) -> Result<Beginning, OidcError> {
        let client = self.oidc(self.metadata(None).await?, back)?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let flow = AuthenticationFlow::<CoreResponseType>::AuthorizationCode;
        let mut request = client.authorize_url(flow, CsrfToken::new_random, Nonce::new_random).set_pkce_challenge(challenge);
        for scope in self.options.scopes.iter().filter(|scope| *scope != "openid") {
            request = request.add_scope(Scope::new(scope.clone()));
        }
        let (url, state, nonce) = request.url();
        if !crate::config::is_safe(url.as_str()) {
            return Err(self.unusable("its authorization endpoint is neither https nor on this machine"));
        }
        Ok(Beginning { url: url.into(), state: state.into_secret(), nonce: nonce.secret().clone(), verifier: verifier.into_secret() })
    }

    /// Ends a login: the code against an id token, the id token against the provider's keys and the nonce.
    pub async fn finish(&self, back: &str, code: String, nonce: String, verifier: String) -> Result<Person, OidcError> {
        let began = Instant::now();
        let client = self.oidc(self.metadata(None).await?, back)?;
        let exchange = client.exchange_code(AuthorizationCode::new(code)).map_err(|error| self.unusable(error))?;
        let exchanged = exchange.set_pkce_verifier(PkceCodeVerifier::new(verifier)).request_async(&self.client).await;
        let answer = exchanged.map_err(|error| self.unconfirmed(describe(&error)))?;
        let token = answer.id_token().ok_or_else(|| self.unconfirmed("it sent no id token"))?;
        let nonce = Nonce::new(nonce);
        let verified = |client: &OidcClient| -> Result<IdTokenClaims<Others, CoreGenderClaim>, ClaimsVerificationError> {
            token.claims(&client.id_token_verifier().set_allowed_algs(ALGORITHMS), &nonce).cloned()
        };
        let (client, claims) = match verified(&client) {
            Ok(claims) => (client, claims),
            // It signs with a key that was not there when its keys were read.
            Err(ClaimsVerificationError::SignatureVerification(
                SignatureVerificationError::NoMatchingKey | SignatureVerificationError::CryptoError(_),
            )) => {
                let client = self.oidc(self.metadata(Some(began)).await?, back)?;
                let claims = verified(&client).map_err(|error| self.unconfirmed(describe(&error)))?;
                (client, claims)
            }
            Err(error) => return Err(self.unconfirmed(describe(&error))),
        };
        let mut said = self.object(serde_json::to_value(&claims))?;
        let claim = &self.options.username_claim;
        let confirmed = ["email", "email_verified"].iter().any(|name| said.contains_key(*name));
        let more = match said.get(claim) {
            Some(name) => !confirmed && name.as_str().is_some_and(is_address),
            None => true,
        };
        if more && let Ok(request) = client.user_info(answer.access_token().clone(), Some(claims.subject().clone())) {
            // What an id token leaves out is there; the library compares the subjects.
            let more: Result<UserInfoClaims<Others, CoreGenderClaim>, _> = request.request_async(&self.client).await;
            let more = more.map_err(|error| self.unconfirmed(describe(&error)))?;
            for (name, value) in self.object(serde_json::to_value(&more))? {
                said.entry(name).or_insert(value);
            }
        }
        let username = username(&said, claim);
        Ok(Person { issuer: claims.issuer().to_string(), subject: claims.subject().to_string(), username })
    }

    /// What it says of itself. `older`: read it again if it was read before this. Only a login that the provider itself has just
    /// let through gets so far, so nobody else can make this server ask.
    async fn metadata(&self, older: Option<Instant>) -> Result<CoreProviderMetadata, OidcError> {
        let mut known = self.known.lock().await;
        if let Some((read, metadata)) = &*known {
            let stale = match older {
                Some(older) => *read < older,
                None => read.elapsed() >= FRESH,
            };
            if !stale {
                return Ok(metadata.clone());
            }
        }
        let issuer = IssuerUrl::new(self.options.issuer.clone()).map_err(|error| self.unusable(error))?;
        // The library compares the issuer in the document with this one.
        let read = CoreProviderMetadata::discover_async(issuer, &self.client).await;
        let metadata = read.map_err(|error| self.unusable(describe(&error)))?;
        *known = Some((Instant::now(), metadata.clone()));
        Ok(metadata)
    }

    fn oidc(&self, metadata: CoreProviderMetadata, back: &str) -> Result<OidcClient, OidcError> {
        let back = RedirectUrl::new(back.to_owned()).map_err(|error| self.unusable(error))?;
        let id = ClientId::new(self.options.client_id.clone());
        Ok(openidconnect::Client::from_provider_metadata(metadata, id, self.secret.clone()).set_redirect_uri(back))
    }

    fn object(&self, value: Result<Value, serde_json::Error>) -> Result<Map<String, Value>, OidcError> {
        match value {
            Ok(Value::Object(object)) => Ok(object),
            _ => Err(self.unconfirmed("its claims cannot be read")),
        }
    }

    fn unusable(&self, reason: impl Display) -> OidcError {
        OidcError::Unusable { provider: self.options.name.clone(), reason: reason.to_string() }
    }

    fn unconfirmed(&self, reason: impl Display) -> OidcError {
        OidcError::Unconfirmed { provider: self.options.name.clone(), reason: reason.to_string() }
    }
}

/// The user name that claims give. An address is one only if it is the one that the provider has verified, whichever claim it
/// stands in: anybody may have typed in another, and it is where mail to this user would go.
fn username(claims: &Map<String, Value>, claim: &str) -> Option<String> {
    let text = |claim: &str| claims.get(claim)?.as_str().map(str::trim);
    let name = text(claim)?;
    let verified = !(claim == "email" || is_address(name))
        || (claims.get("email_verified") == Some(&Value::Bool(true)) && text("email") == Some(name));
    let fits = !name.is_empty() && name.len() <= crate::rights::secrets::LONGEST_NAME && !name.chars().any(char::is_control);
    (verified && fits).then(|| name.to_owned())
}

/// Whether mail could be sent to it. Some servers take `@` alone for a sign of that, so this does as well.
fn is_address(name: &str) -> bool {
    name.contains('@')
}

/// An error with those that it comes from: the outermost ones of the library say little.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(claims: Value, claim: &str) -> Option<String> {
        username(claims.as_object()?, claim)
    }

    #[test]
    fn an_address_counts_when_the_provider_has_verified_it() {
        let email = |verified: Value| of(json!({"email": "jo@example.org", "email_verified": verified}), "email");
        assert_eq!(email(json!(true)).as_deref(), Some("jo@example.org"));
        for not in [json!(false), json!("true"), json!(null), json!(1)] {
            assert_eq!(email(not), None);
        }
        assert_eq!(of(json!({"email": "jo@example.org"}), "email"), None);
    }

    #[test]
    fn an_address_in_another_claim_is_the_verified_one_or_none() {
        let said = |name: &str, email: Value, verified: Value| {
            of(json!({"preferred_username": name, "email": email, "email_verified": verified}), "preferred_username")
        };
        let (jo, yes) = (json!("jo@example.org"), json!(true));
        assert_eq!(said("jo@example.org", jo.clone(), yes.clone()).as_deref(), Some("jo@example.org"));
        for (email, verified) in
            [(jo.clone(), json!(false)), (jo.clone(), json!(null)), (json!(null), yes.clone()), (json!("me@example.com"), yes)]
        {
            assert_eq!(said("jo@example.org", email.clone(), verified.clone()), None, "{email} {verified}");
        }
        assert_eq!(said("jo", jo, json!(false)).as_deref(), Some("jo"), "no address at all");
        assert_eq!(of(json!({"preferred_username": "jo@example.org"}), "preferred_username"), None);
    }

    #[test]
    fn names_are_texts_that_a_person_could_type() {
        assert_eq!(of(json!({"upn": " jo "}), "upn").as_deref(), Some("jo"));
        for not in [json!(""), json!("  "), json!(7), json!(null), json!("a\nb"), json!("x".repeat(300))] {
            assert_eq!(of(json!({"upn": not}), "upn"), None);
        }
        assert_eq!(of(json!({}), "upn"), None);
    }
}
