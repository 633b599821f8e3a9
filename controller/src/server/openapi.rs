//! The OpenAPI document: made of the handlers' own descriptions, so that it says what is served. Decides nothing.

use super::problem::Problem;
use serde_json::{Value, json};
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Info, OpenApi, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoParams, IntoResponses, PartialSchema, ToSchema};

/// The wire types of the pure crates, as their sources have them (`build.rs`).
#[expect(dead_code, unreachable_pub, reason = "descriptions: nothing of them is ever made")]
pub(crate) mod wire {
    use std::collections::BTreeMap;
    include!(concat!(env!("OUT_DIR"), "/wire.rs"));
}

/// Answers that many routes give. The field is what the body is.
macro_rules! problems {
    ($($(#[doc = $doc:literal])* $name:ident = $status:literal: $description:literal;)*) => { $(
        $(#[doc = $doc])*
        #[derive(IntoResponses)]
        #[response(status = $status, description = $description, content_type = "application/problem+json")]
        #[expect(dead_code, reason = "a description")]
        pub(crate) struct $name(Problem);
    )* };
}

problems! {
    /// 400.
    BadQuery = 400: "The query, a header or the body cannot be read.";
    /// 404.
    Missing = 404: "There is no such thing.";
    /// 409.
    Conflict = 409: "Refused in this state; nothing has changed.";
    /// 412.
    Unmet = 412: "`If-Match` or `If-None-Match` does not hold; nothing has changed.";
    /// 413.
    TooLarge = 413: "The body is larger than it may be.";
    /// 422.
    Invalid = 422: "It can be read, but not be meant; nothing has changed.";
}

/// Headers by which a write depends on what the experiment is like.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "a description")]
pub(crate) struct Conditional {
    /// Only if the experiment has this `ETag`, or one of several; `*`: only if it is there.
    #[param(rename = "If-Match")]
    if_match: Option<String>,
    /// `*`: only if the experiment is not there.
    #[param(rename = "If-None-Match")]
    if_none_match: Option<String>,
}

/// What any route may answer, by status: these come before or around the handlers.
const COMMON: [(&str, &str); 5] = [
    ("400", "The query, a header or the body cannot be read."),
    ("401", "No token that this controller knows."),
    (
        "403",
        "The token's role does not allow that, or, without tokens, a web page of another origin asks, or for another host.",
    ),
    ("429", "Too many requests: try again after `Retry-After` seconds."),
    ("503", "It passes: try again after `Retry-After` seconds."),
];

/// … and where a body is read.
const OF_A_BODY: [(&str, &str); 2] =
    [("408", "The body did not arrive in time."), ("413", "The body is larger than it may be.")];

/// Writes that count a thing once by what they say themselves, and what changes nothing.
const COUNTED: [&str; 3] = ["sendReport", "reportRewards", "rehearse"];

/// The header that every other write may have.
fn idempotency_key() -> Parameter {
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .description(Some(
            "Up to 128 visible ASCII characters of your choice: the same request with the same key, within a day, is answered as \
             before and not done again; another request with it is refused (422).",
        ))
        .schema(Some(<String as PartialSchema>::schema()))
        .build()
}

/// Adds to the routes' own descriptions what they have in common.
pub(crate) fn complete(mut document: OpenApi) -> OpenApi {
    let mut info = Info::new("Weir", env!("CARGO_PKG_VERSION"));
    info.description = Some(
        "Splits live traffic between versions of a service, measures, and moves it to the best. Times are Unix milliseconds, \
         weights basis points (10,000 is all traffic). Errors are RFC 9457 problem details."
            .to_owned(),
    );
    document.info = info;
    let components = document.components.get_or_insert_default();
    components.schemas.insert("Problem".to_owned(), <Problem as utoipa::PartialSchema>::schema());
    let mut nested = Vec::new();
    <Problem as ToSchema>::schemas(&mut nested);
    components.schemas.extend(nested);
    components.security_schemes.insert(
        "token".to_owned(),
        RefOr::T(SecurityScheme::Http(
            Http::builder()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some(
                    "A token of `weir token create` or `weir serve --token`; each operation names the roles that may.",
                ))
                .build(),
        )),
    );
    for (status, description) in COMMON.into_iter().chain(OF_A_BODY) {
        components.responses.insert(name(status), RefOr::T(problem(description)));
    }
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.post, &mut item.delete].into_iter().flatten();
        for operation in operations {
            let guarded =
                operation.security.as_ref().is_some_and(|roles| !roles.iter().all(|role| *role == Default::default()));
            for (status, _) in COMMON {
                // Who asks for health is asked for nothing.
                if guarded || status == "503" {
                    let common = RefOr::Ref(Ref::from_response_name(name(status)));
                    operation.responses.responses.entry(status.to_owned()).or_insert(common);
                }
            }
            let written = operation.responses.responses.contains_key("422")
                && !COUNTED.contains(&operation.operation_id.as_deref().unwrap_or_default());
            // With a key the body is read, though the route may have none.
            if written || operation.request_body.is_some() {
                for (status, _) in OF_A_BODY {
                    let of_a_body = RefOr::Ref(Ref::from_response_name(name(status)));
                    operation.responses.responses.entry(status.to_owned()).or_insert(of_a_body);
                }
            }
            if written {
                operation.parameters.get_or_insert_default().push(RefOr::T(idempotency_key()));
                operation.responses.responses.entry("409".to_owned()).or_insert_with(|| {
                    RefOr::T(problem(
                        "A request with this `Idempotency-Key` is under way, or its answer was shown once.",
                    ))
                });
            }
        }
    }
    document
}

fn name(status: &str) -> String {
    format!("Problem{status}")
}

fn problem(description: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new().description(description).content("application/problem+json", content).build()
}

/// The document as it is served and committed.
pub(crate) fn text(document: &OpenApi) -> String {
    let mut value = serde_json::to_value(document).unwrap_or_default();
    name_keys_as_text(&mut value);
    format!("{value:#}\n")
}

/// In JSON the keys of every object are text, also where they are numbers here.
fn name_keys_as_text(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(name_keys_as_text),
        Value::Object(fields) => {
            if fields.get("propertyNames").is_some_and(|names| names["type"] == "integer") {
                fields.insert("propertyNames".to_owned(), json!({"pattern": "^[0-9]+$"}));
            }
            fields.values_mut().for_each(name_keys_as_text);
        }
        _ => {}
    }
}
