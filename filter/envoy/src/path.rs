//! The request path of `weir-core` on Envoy. Nothing else may use it there, or it would be compiled once more, for size.

use crate::envoy::Envoy;
use weir_core::matching::Compiled;
use weir_core::recorder::Recorder;
use weir_core::request::{Request, Worker};

/// [`Request::on_request_headers`].
pub fn on_request_headers(envoy: &mut Envoy, plan: &Compiled, worker: Worker<'_>) -> Request {
    Request::on_request_headers(envoy, plan, worker)
}

/// [`Request::on_response_headers`].
pub fn on_response_headers(envoy: &mut Envoy, request: &mut Request, recorder: &mut Recorder) {
    request.on_response_headers(envoy, recorder);
}

/// [`Request::on_log`].
pub fn on_log(envoy: &mut Envoy, request: &mut Request, recorder: &mut Recorder) {
    request.on_log(envoy, recorder);
}
