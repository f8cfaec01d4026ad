//! Probes: one request, cumulative counters, a user journey, a program.
//!
//! Must never enter: limits, windows and budgets; a probe measures, the watch judges.

mod command;
mod counters;
mod flow;
mod http;

pub use command::CommandProbe;
pub use counters::{CountersProbe, Pointers};
pub use flow::FlowProbe;
pub use http::HttpProbe;

use crate::{
    adapters::{
        http::Call,
        template::{Values, render, render_json},
    },
    error::{Fault, FaultKind, Result},
    model::{Timestamp, Verdict, text},
    plan::{Auth, RequestPlan},
    ports::{Measurement, Reading},
};
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;

/// A measurement made now.
fn measured(verdict: Verdict, detail: &str, readings: Vec<Reading>) -> Measurement {
    Measurement { verdict, detail: text::clean(detail, 300), readings, at: Timestamp::now() }
}

const fn verdict(passed: bool) -> Verdict {
    if passed { Verdict::Pass } else { Verdict::Fail }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The request with values put into its address, body and token.
fn filled_in(doing: &str, plan: &RequestPlan, values: &Values) -> Result<Call> {
    let auth = match &plan.auth {
        Auth::None => Auth::None,
        Auth::Token { scheme, token } => {
            Auth::Token { scheme: scheme.clone(), token: SecretString::from(secret(token, values)?) }
        }
        Auth::Basic { user, password } => {
            Auth::Basic { user: user.clone(), password: SecretString::from(secret(password, values)?) }
        }
        Auth::Header { name, token } => {
            Auth::Header { name: name.clone(), token: SecretString::from(secret(token, values)?) }
        }
    };
    let body = plan.body.as_ref().map(|body| render_json(body, values)).transpose()?;
    let request = RequestPlan { method: plan.method.clone(), url: render(&plan.url, values)?, auth, body };
    Call::planned(doing, &request)
}

/// A token with values put in. A fault about it says nothing of the token.
fn secret(token: &SecretString, values: &Values) -> Result<String> {
    render(token.expose_secret(), values).map_err(|_| {
        Fault::new(FaultKind::Plan, "fill in the token of a request").detail("it names a value that is not there")
    })
}

/// A probe that got no answer has found something wrong; one that could not even ask has not measured.
const fn is_finding(kind: FaultKind) -> bool {
    !matches!(kind, FaultKind::Plan | FaultKind::Internal)
}
