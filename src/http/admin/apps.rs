//! `/apps` and `/apps/NAME`: which apps there are, for administrators of the default one.

use super::{Admin, require_admin};
use crate::apps::limits::OwnLimits;
use crate::apps::registry::{Changes, Described, NewApp};
use crate::http::body::{self, Whole};
use crate::http::error::ApiError;
use crate::http::identity::{self, Identity};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Response, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Asked {
    name: String,
    #[serde(default)]
    hosts: Vec<String>,
    #[serde(default)]
    origins: Vec<String>,
    #[serde(default)]
    limits: OwnLimits,
    #[serde(default)]
    root_password: Option<String>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Changed {
    #[serde(default)]
    hosts: Option<Vec<String>>,
    #[serde(default)]
    origins: Option<Vec<String>>,
    #[serde(default)]
    limits: Option<OwnLimits>,
}

/// `GET /apps`
pub(super) async fn list(State(admin): State<Arc<Admin>>, identity: Identity) -> Result<Response<Body>, ApiError> {
    require_admin(&identity)?;
    let apps: Vec<Value> = admin.registry.list().await.iter().map(shown).collect();
    Ok(body::json(StatusCode::OK, json!({"apps": apps}).to_string()))
}

/// `POST /apps`: `{name, hosts?, origins?, limits?, rootPassword?}`. A password that was generated is told here, and nowhere else.
pub(super) async fn create(State(admin): State<Arc<Admin>>, identity: Identity, body: Whole) -> Result<Response<Body>, ApiError> {
    require_admin(&identity)?;
    let Asked { name, hosts, origins, limits, root_password } = body.json()?;
    let (app, generated) = admin.registry.create(NewApp { name, hosts, origins, limits, root_password }).await?;
    let mut answer = shown(&app);
    if let (Some(password), Some(answer)) = (generated, answer.as_object_mut()) {
        answer.insert("rootPassword".into(), password.into());
    }
    let mut response = body::json(StatusCode::CREATED, answer.to_string());
    identity::private(&mut response);
    Ok(response)
}

/// `GET /apps/NAME`
pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    identity: Identity,
    Path(name): Path<String>,
) -> Result<Response<Body>, ApiError> {
    require_admin(&identity)?;
    Ok(body::json(StatusCode::OK, shown(&admin.registry.find(&name).await?).to_string()))
}

/// `PUT /apps/NAME`: `{hosts?, origins?, limits?}`, each as a whole; what is absent stays.
pub(super) async fn change(
    State(admin): State<Arc<Admin>>,
    identity: Identity,
    Path(name): Path<String>,
    body: Whole,
) -> Result<Response<Body>, ApiError> {
    require_admin(&identity)?;
    let Changed { hosts, origins, limits } = body.json()?;
    let app = admin.registry.change(&name, Changes { hosts, origins, limits }).await?;
    Ok(body::json(StatusCode::OK, shown(&app).to_string()))
}

/// `DELETE /apps/NAME`: it does not answer any more; what it had goes in the time that it takes.
pub(super) async fn delete(
    State(admin): State<Arc<Admin>>,
    identity: Identity,
    Path(name): Path<String>,
) -> Result<Response<Body>, ApiError> {
    require_admin(&identity)?;
    admin.registry.delete(&name).await?;
    Ok(body::json(StatusCode::ACCEPTED, json!({"name": name, "state": "removing"}).to_string()))
}

fn shown(app: &Described) -> Value {
    let mut value = json!({
        "name": app.name,
        "inStore": &*app.in_store,
        "state": app.state,
        "hosts": app.hosts,
        "origins": app.origins,
        "limits": app.limits,
        "stored": app.stored,
    });
    if let (Some(running), Some(value)) = (&app.app, value.as_object_mut()) {
        value.insert("limitsInForce".into(), json!(running.quota.limits()));
        value.insert("usage".into(), json!(running.quota.usage()));
    }
    value
}
