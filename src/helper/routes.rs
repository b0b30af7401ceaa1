//! The API's paths, each one line to the supervisor's method; [`crate::api::client::Client`] asks for the same.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Path, Query, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::stream;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::failure::Failure;
use super::supervisor::Supervisor;
use crate::api::events::EventQuery;
use crate::api::inspect::Inspect;
use crate::api::types::{
    Bridge, ContainerSummary, CreateContainer, Created, Exited, Force, Network, NetworkUpdate, PortMapping, PortSpecs,
    StartContainer, Stop,
};

/// The whole API.
pub(super) fn router(supervisor: Arc<Supervisor>) -> Router {
    Router::new()
        .route("/network", get(network))
        .route("/network/down", post(down))
        .route("/network/keep", post(keep))
        .route("/network/update", post(update))
        .route("/bridge", get(bridge))
        .route("/events", get(events))
        .route("/containers", get(containers).post(create))
        .route("/containers/{name}", get(inspect))
        .route("/containers/{name}/environment", get(environment))
        .route("/containers/{name}/start", post(start))
        .route("/containers/{name}/exited", post(exited))
        .route("/containers/{name}/stop", post(stop))
        .route("/containers/{name}/wait", post(wait))
        .route("/containers/{name}/detach", post(detach))
        .route("/containers/{name}/remove", post(remove))
        .route("/containers/{name}/ports", get(ports))
        .route("/containers/{name}/publish", post(publish))
        .route("/containers/{name}/unpublish", post(unpublish))
        .fallback(async || Failure::unknown("no such path in this version's API"))
        .with_state(supervisor)
}

type Shared = State<Arc<Supervisor>>;
type Answer<Body> = Result<Json<Body>, Failure>;

/// A JSON body whose errors are told like every other.
struct Body<Content>(Content);

impl<Content: DeserializeOwned, Context: Send + Sync> FromRequest<Context> for Body<Content> {
    type Rejection = Failure;

    async fn from_request(request: Request, context: &Context) -> Result<Self, Failure> {
        let body: Result<Json<Content>, JsonRejection> = Json::from_request(request, context).await;
        body.map(|Json(content)| Self(content))
            .map_err(|rejection| Failure::bad(rejection.body_text()))
    }
}

#[derive(Deserialize)]
struct Which {
    #[serde(default)]
    all: bool,
}

/// Carries a change through to its end, also when whoever asked for it hangs up meanwhile: then the server drops the
/// handler, which must not leave half of it done.
async fn finish<Done: Send + 'static>(
    change: impl Future<Output = Result<Done, Failure>> + Send + 'static,
) -> Answer<Done> {
    let done = tokio::spawn(change).await;
    done.unwrap_or_else(|error| Err(Failure::failed(error))).map(Json)
}

async fn network(State(supervisor): Shared) -> Answer<Network> {
    Ok(Json(supervisor.network().await))
}

async fn keep(State(supervisor): Shared) -> Answer<()> {
    supervisor.keep();
    Ok(Json(()))
}

async fn update(State(supervisor): Shared, Body(update): Body<NetworkUpdate>) -> Answer<()> {
    finish(async move { supervisor.update(update).await }).await
}

async fn down(State(supervisor): Shared, Body(Force { force }): Body<Force>) -> Answer<()> {
    supervisor.down(force).await.map(Json)
}

async fn bridge(State(supervisor): Shared) -> Answer<Bridge> {
    supervisor.bridge().await.map(Json)
}

/// A JSON object a line, as things happen; a reader that goes away ends it.
async fn events(State(supervisor): Shared, Query(query): Query<EventQuery>) -> Response {
    let lines = stream::unfold(supervisor.events.subscribe(query), |mut subscription| async {
        let event = subscription.next().await?;
        let line = serde_json::to_vec(&*event).map(|mut line| {
            line.push(b'\n');
            line
        });
        Some((line, subscription))
    });
    (
        [(CONTENT_TYPE, "application/x-ndjson")],
        axum::body::Body::from_stream(lines),
    )
        .into_response()
}

async fn containers(State(supervisor): Shared, Query(Which { all }): Query<Which>) -> Answer<Vec<ContainerSummary>> {
    Ok(Json(supervisor.list(all).await))
}

async fn create(State(supervisor): Shared, Body(container): Body<CreateContainer>) -> Answer<Created> {
    finish(async move { supervisor.create(container).await }).await
}

async fn inspect(State(supervisor): Shared, Path(name): Path<String>) -> Answer<Inspect> {
    supervisor.inspect(&name).await.map(Json)
}

async fn environment(State(supervisor): Shared, Path(name): Path<String>) -> Answer<Vec<String>> {
    supervisor.environment(&name).await.map(Json)
}

async fn start(State(supervisor): Shared, Path(name): Path<String>, Body(body): Body<StartContainer>) -> Answer<()> {
    finish(async move { supervisor.attach(&name, body).await }).await
}

async fn exited(State(supervisor): Shared, Path(name): Path<String>, Body(body): Body<Exited>) -> Answer<()> {
    finish(async move { supervisor.exited(&name, body.code).await }).await
}

async fn stop(State(supervisor): Shared, Path(name): Path<String>, Body(body): Body<Stop>) -> Answer<()> {
    finish(async move { supervisor.stop(&name, body.timeout).await }).await
}

async fn wait(State(supervisor): Shared, Path(name): Path<String>) -> Answer<Exited> {
    supervisor.wait(&name).await.map(|code| Json(Exited { code }))
}

async fn detach(State(supervisor): Shared, Path(name): Path<String>) -> Answer<()> {
    finish(async move { supervisor.detach(&name).await }).await
}

async fn remove(State(supervisor): Shared, Path(name): Path<String>, Body(body): Body<Force>) -> Answer<()> {
    finish(async move { supervisor.remove(&name, body.force).await }).await
}

async fn ports(State(supervisor): Shared, Path(name): Path<String>) -> Answer<Vec<PortMapping>> {
    supervisor.ports(&name).await.map(Json)
}

async fn publish(
    State(supervisor): Shared,
    Path(name): Path<String>,
    Body(body): Body<PortSpecs>,
) -> Answer<Vec<PortMapping>> {
    finish(async move { supervisor.publish(&name, &body.specs).await }).await
}

async fn unpublish(State(supervisor): Shared, Path(name): Path<String>, Body(body): Body<PortSpecs>) -> Answer<()> {
    finish(async move { supervisor.unpublish(&name, &body.specs).await }).await
}
