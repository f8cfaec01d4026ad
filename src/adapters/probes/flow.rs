//! A user journey: requests one after the other, each checked, with what they brought put into the next.

use super::{filled_in, is_finding, measured, milliseconds};
use crate::{
    adapters::{
        http::{Answer, Client, Payload},
        template::{Values, render, render_json},
    },
    error::{Fault, FaultKind, Result},
    model::{Value, Verdict, text},
    plan::FlowStep,
    ports::{Measurement, Probe, Reading},
};
use async_trait::async_trait;
use serde_json::Value as Json;
use serde_json_path::JsonPath;
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

/// A user journey.
#[derive(Debug)]
pub struct FlowProbe {
    name: String,
    steps: Vec<Prepared>,
    client: Client,
    timeout: Duration,
}

/// A step with its paths read.
#[derive(Debug)]
struct Prepared {
    step: FlowStep,
    capture: Vec<(String, JsonPath)>,
    expect: Vec<(JsonPath, Json)>,
}

/// Why a step did not pass: a finding about the other side, or a fault of ours.
enum Failed {
    Found(String),
    Broken(Fault),
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        if is_finding(fault.kind) { Self::Found(fault.chain()) } else { Self::Broken(fault) }
    }
}

impl Prepared {
    fn new(flow: &str, step: &FlowStep) -> Result<Self> {
        let path = |text: &str| {
            JsonPath::parse(text).map_err(|error| {
                Fault::new(FaultKind::Plan, format!("read the path `{text}` in step {} of {flow}", step.name))
                    .source(error)
            })
        };
        Ok(Self {
            capture: step.capture.iter().map(|(name, text)| Ok((name.clone(), path(text)?))).collect::<Result<_>>()?,
            expect: step
                .expect
                .iter()
                .map(|(text, wanted)| Ok((path(text)?, wanted.clone())))
                .collect::<Result<_>>()?,
            step: step.clone(),
        })
    }

    /// Holds an answer against what the step expects and takes from it what later steps need.
    fn judge(&self, answer: &Answer, values: &mut Values) -> Result<(), Failed> {
        let found = |wanted: &str, came: &str| {
            let came = text::clean(&answer.scrub(came), 160);
            Failed::Found(format!("expected {wanted}, got {came}"))
        };
        let status = answer.status.as_u16();
        let allowed = &self.step.status;
        let passed = if allowed.is_empty() { (200..300).contains(&status) } else { allowed.contains(&status) };
        if !passed {
            let wanted = match allowed.as_slice() {
                [] => "HTTP 2xx".to_owned(),
                some => format!("HTTP {}", some.iter().map(u16::to_string).collect::<Vec<_>>().join(" or ")),
            };
            return Err(found(&wanted, &format!("HTTP {status}: {}", answer.excerpt())));
        }
        if let Some(body) = &self.step.body {
            let wanted = render(body, values)?;
            if answer.body != wanted.as_bytes() {
                let wanted = format!("the body `{}`", text::clean(&wanted, 80));
                return Err(found(&wanted, &format!("`{}`", answer.excerpt())));
            }
        }
        if self.capture.is_empty() && self.expect.is_empty() {
            return Ok(());
        }
        let document = answer.json("read the answer")?;
        for (path, wanted) in &self.expect {
            let wanted = render_json(wanted, values)?;
            let came = path.query(&document).first();
            if !came.is_some_and(|came| same(came, &wanted)) {
                let came = came.map_or_else(|| "nothing there".to_owned(), Json::to_string);
                return Err(found(&format!("{path} to be {}", text::clean(&wanted.to_string(), 80)), &came));
            }
        }
        for (name, path) in &self.capture {
            match path.query(&document).first() {
                Some(Json::Null) | None => return Err(found(&format!("a {name} at {path}"), &answer.excerpt())),
                Some(value) => values.insert(name.clone(), Value::from_json(value.clone()).to_text()),
            };
        }
        Ok(())
    }
}

/// Equal, and for numbers equal in value: `1` is `1.0`, and a number is the text a template makes of it.
fn same(came: &Json, wanted: &Json) -> bool {
    came == wanted
        || match (came, wanted) {
            (Json::Number(a), Json::Number(b)) => a.as_f64() == b.as_f64(),
            (Json::Number(a), Json::String(b)) => a.to_string() == *b,
            _ => false,
        }
}

impl FlowProbe {
    /// The flow of this name in the plan.
    ///
    /// # Errors
    /// `Plan` if a JSONPath cannot be read; `Internal` if no HTTP client can be made on this machine.
    pub fn new(name: &str, steps: &[FlowStep], timeout: Duration, resolver: Option<SocketAddr>) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            steps: steps.iter().map(|step| Prepared::new(name, step)).collect::<Result<_>>()?,
            client: Client::new(timeout, resolver)?,
            timeout,
        })
    }

    async fn step(
        &self,
        prepared: &Prepared,
        values: &mut Values,
        latency: &mut Vec<(f64, u64)>,
    ) -> Result<(), Failed> {
        let doing = format!("do step {} of {}", prepared.step.name, self.name);
        let mut call = filled_in(&doing, &prepared.step.request, values)?;
        if let Some((name, content)) = &prepared.step.upload {
            call = call.payload(Payload::File { name: render(name, values)?, content: render(content, values)? });
        }
        let answer = self.client.send(&doing, call).await?;
        latency.push((milliseconds(answer.took), 1));
        prepared.judge(&answer, values)
    }
}

#[async_trait]
impl Probe for FlowProbe {
    async fn measure(&self, vars: &BTreeMap<String, String>) -> Result<Measurement> {
        let mut values = vars.clone();
        values.insert("random".to_owned(), format!("{:08x}", rand::random::<u32>()));
        let mut latency = Vec::new();
        let mut done = 0_u64;
        let deadline = tokio::time::Instant::now() + self.timeout;
        for prepared in &self.steps {
            let step = tokio::time::timeout_at(deadline, self.step(prepared, &mut values, &mut latency)).await;
            let failed = match step {
                Ok(Ok(())) => {
                    done += 1;
                    continue;
                }
                Ok(Err(Failed::Broken(fault))) => return Err(fault),
                Ok(Err(Failed::Found(what))) => what,
                Err(_) => format!("the journey was not done within {:?}", self.timeout),
            };
            let detail = format!("step {} of {}: {failed}", prepared.step.name, self.steps.len());
            let readings = vec![Reading::Requests { total: done + 1, failed: 1, latency }];
            return Ok(measured(Verdict::Fail, &detail, readings));
        }
        let whole: f64 = latency.iter().map(|(took, _)| took).sum();
        let detail = format!("{done} steps in {whole:.0} ms");
        Ok(measured(Verdict::Pass, &detail, vec![Reading::Requests { total: done, failed: 0, latency }]))
    }
}
