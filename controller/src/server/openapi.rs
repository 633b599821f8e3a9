//! The OpenAPI document: made of the handlers' own descriptions, so that it says what is served. Decides nothing.

use super::problem::Problem;
use serde_json::{Value, json};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Info, OpenApi, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

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
    /// 413.
    TooLarge = 413: "The body is larger than it may be.";
    /// 422.
    Invalid = 422: "It can be read, but not be meant; nothing has changed.";
}

/// What any route may answer, by status: these come before or around the handlers.
const COMMON: [(&str, &str); 4] = [
    ("401", "No token that this controller knows."),
    ("403", "The token's role does not allow that, or a web page of another origin asks."),
    ("408", "The body did not arrive in time."),
    ("503", "It passes: try again after `Retry-After` seconds."),
];

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
    for (status, description) in COMMON {
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
