//! Probes against servers that behave, and servers that do not.

use super::{
    PATIENCE,
    doubles::{closed_port, serve, silent_server},
    request, token,
};
use axum::{
    Json, Router,
    extract::{Multipart, Path, State},
    http::{HeaderMap, StatusCode},
    routing::{any, get, post},
};
use cutover::{
    adapters::probes::{CommandProbe, CountersProbe, FlowProbe, HttpProbe, Pointers},
    error::FaultKind,
    model::Verdict,
    plan::{FlowStep, RequestPlan},
    ports::{Measurement, Probe, Reading},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

fn nothing() -> BTreeMap<String, String> {
    BTreeMap::new()
}

fn requests(measurement: &Measurement) -> (u64, u64, &[(f64, u64)]) {
    match measurement.readings.as_slice() {
        [Reading::Requests { total, failed, latency }] => (*total, *failed, latency),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_request_is_judged_by_its_status() {
    let at = serve(Router::new().route(
        "/{status}",
        any(async |Path(status): Path<u16>| (StatusCode::from_u16(status).unwrap(), "said \u{1b}[2J so")),
    ))
    .await;
    let table: [(u16, &[u16], Verdict); 5] = [
        (200, &[], Verdict::Pass),
        (304, &[], Verdict::Pass),
        (404, &[], Verdict::Fail),
        (404, &[404], Verdict::Pass),
        (200, &[201, 204], Verdict::Fail),
    ];
    for (status, allowed, verdict) in table {
        let probe =
            HttpProbe::new("home", &request("GET", format!("http://{at}/{status}")), allowed, PATIENCE, None).unwrap();
        let measured = probe.measure(&nothing()).await.unwrap();
        assert_eq!(measured.verdict, verdict, "{status} {allowed:?}: {}", measured.detail);
        let (total, failed, latency) = requests(&measured);
        assert_eq!((total, failed, latency.len()), (1, u64::from(verdict == Verdict::Fail), 1));
        assert!(!measured.detail.contains('\u{1b}'));
    }
}

#[tokio::test]
async fn no_answer_is_a_finding_and_a_wrong_address_a_fault() {
    let dead = format!("http://{}/", closed_port().await);
    let measured =
        HttpProbe::new("home", &request("GET", dead), &[], PATIENCE, None).unwrap().measure(&nothing()).await;
    let measured = measured.unwrap();
    assert_eq!((measured.verdict, requests(&measured)), (Verdict::Fail, (1, 1, &[][..])));

    let silent = format!("http://{}/", silent_server().await);
    let limit = Duration::from_millis(300);
    let measured = HttpProbe::new("home", &request("GET", silent), &[], limit, None).unwrap().measure(&nothing()).await;
    let measured = measured.unwrap();
    assert_eq!((measured.verdict, requests(&measured)), (Verdict::Fail, (1, 1, &[(300.0, 1)][..])));

    let probe = HttpProbe::new("home", &request("GET", "nonsense"), &[], PATIENCE, None).unwrap();
    assert_eq!(probe.measure(&nothing()).await.unwrap_err().kind, FaultKind::Plan);
    let probe = HttpProbe::new("home", &request("GET", "http://x/{{ colour }}"), &[], PATIENCE, None).unwrap();
    assert_eq!(probe.measure(&nothing()).await.unwrap_err().kind, FaultKind::Plan, "no colour was given");
}

#[tokio::test]
async fn counters_bring_what_came_since() {
    let document: Arc<Mutex<Value>> = Arc::default();
    let router = Router::new()
        .route("/m", get(async |State(document): State<Arc<Mutex<Value>>>| Json(document.lock().unwrap().clone())))
        .with_state(document.clone());
    let at = serve(router).await;
    let pointers = Pointers { total: "/t".into(), failed: "/f".into(), latency: Some("/l".into()) };
    let probe =
        CountersProbe::new("live", &request("GET", format!("http://{at}/m")), pointers, PATIENCE, None).unwrap();
    let set = |t, f, fast, slow| *document.lock().unwrap() = json!({"t": t, "f": f, "l": [[10, fast], [50, slow]]});
    set(1000, 10, 900, 100);
    let first = probe.measure(&nothing()).await.unwrap();
    assert_eq!((first.verdict, requests(&first)), (Verdict::Unknown, (0, 0, &[][..])), "over what time, nobody knows");
    set(1010, 12, 905, 105);
    assert_eq!(requests(&probe.measure(&nothing()).await.unwrap()), (10, 2, &[(10.0, 5), (50.0, 5)][..]));
    set(4, 1, 4, 0);
    assert_eq!(requests(&probe.measure(&nothing()).await.unwrap()), (4, 1, &[(10.0, 4)][..]), "began anew");
    *document.lock().unwrap() = json!({"t": "many"});
    assert_eq!(probe.measure(&nothing()).await.unwrap_err().kind, FaultKind::Garbage);
}

#[tokio::test]
async fn a_program_is_judged_by_its_exit_code() {
    let run = |script: &str| {
        let words = ["sh", "-c", script].map(ToOwned::to_owned);
        CommandProbe::new("memory", &words, Duration::from_secs(5))
    };
    let measured = run("echo 0.75").measure(&nothing()).await.unwrap();
    assert_eq!(measured.verdict, Verdict::Pass);
    assert_eq!(measured.readings, [Reading::Gauge { metric: "memory".into(), value: 0.75 }]);
    let measured = run("echo fine").measure(&nothing()).await.unwrap();
    assert_eq!((measured.verdict, measured.readings.len()), (Verdict::Pass, 0));
    let measured = run("echo broken >&2; exit 2").measure(&nothing()).await.unwrap();
    assert_eq!((measured.verdict, measured.detail.as_str()), (Verdict::Fail, "exit code 2: broken"));
    let vars = BTreeMap::from([("colour".to_owned(), "blue".to_owned())]);
    let measured = run("test \"$CUTOVER_COLOUR\" = blue").measure(&vars).await.unwrap();
    assert_eq!(measured.verdict, Verdict::Pass, "{}", measured.detail);
    let loud = run("head -c 1000000 /dev/zero | tr '\\0' x").measure(&nothing()).await.unwrap();
    assert_eq!(loud.verdict, Verdict::Pass, "a flood of output neither blocks nor fills the memory");
    let missing = CommandProbe::new("x", &["/no/such".to_owned()], PATIENCE);
    assert_eq!(missing.measure(&nothing()).await.unwrap_err().kind, FaultKind::NotFound);
}

/// An app with registration, a protected page, and files.
async fn app() -> SocketAddr {
    let router = Router::new()
        .route(
            "/register",
            post(async |Json(body): Json<Value>| {
                let name = body["username"].clone();
                (
                    StatusCode::CREATED,
                    Json(json!({"username": name, "token": "tok-1", "n": 1.0, "deep": {"list": [3, 4]}})),
                )
            }),
        )
        .route(
            "/me",
            get(async |headers: HeaderMap| match headers.get("authorization") {
                Some(value) if value == "Token tok-1" => (StatusCode::OK, "it is you, tok-1".to_owned()),
                other => (StatusCode::UNAUTHORIZED, format!("who is {other:?}?")),
            }),
        )
        .route(
            "/upload",
            post(async |mut form: Multipart| {
                let field = form.next_field().await.unwrap().unwrap();
                let name = format!("{}/{}", field.name().unwrap(), field.file_name().unwrap());
                Json(json!({"name": name, "content": field.text().await.unwrap()}))
            }),
        );
    serve(router).await
}

fn step(name: &str, request: RequestPlan) -> FlowStep {
    FlowStep {
        name: name.into(),
        request,
        upload: None,
        status: Vec::new(),
        capture: BTreeMap::new(),
        expect: Vec::new(),
        body: None,
    }
}

fn register(at: SocketAddr) -> FlowStep {
    let mut asked = request("POST", format!("http://{at}/register"));
    asked.body = Some(json!({"username": "probe-{{ random }}"}));
    FlowStep {
        status: vec![201],
        capture: [("token".to_owned(), "$.token".to_owned()), ("last".to_owned(), "$.deep.list[-1]".to_owned())].into(),
        expect: vec![("$.username".into(), json!("probe-{{ random }}")), ("$.n".into(), json!(1))],
        ..step("register", asked)
    }
}

fn me(at: SocketAddr) -> FlowStep {
    let mut asked = request("GET", format!("http://{at}/me"));
    asked.auth = token("{{ token }}");
    FlowStep { body: Some("it is you, {{ token }}".into()), ..step("me", asked) }
}

async fn flow(steps: Vec<FlowStep>) -> Measurement {
    FlowProbe::new("journey", &steps, PATIENCE, None).unwrap().measure(&nothing()).await.unwrap()
}

#[tokio::test]
async fn a_journey_carries_what_it_captured() {
    let at = app().await;
    let upload = FlowStep {
        upload: Some(("a-{{ last }}.csv".into(), "x,{{ random }}\n".into())),
        expect: vec![("$.name".into(), json!("file/a-4.csv")), ("$.content".into(), json!("x,{{ random }}\n"))],
        ..step("upload", request("POST", format!("http://{at}/upload")))
    };
    let passed = flow(vec![register(at), me(at), upload]).await;
    assert_eq!(passed.verdict, Verdict::Pass, "{}", passed.detail);
    let (total, failed, latency) = requests(&passed);
    assert_eq!((total, failed, latency.len()), (3, 0, 3));
}

#[tokio::test]
async fn a_journey_that_fails_says_where_and_why() {
    let at = app().await;
    let stranger = |change: &dyn Fn(&mut FlowStep)| {
        let mut step = register(at);
        change(&mut step);
        step
    };
    let table: Vec<(Vec<FlowStep>, &str)> = vec![
        (
            vec![stranger(&|step| step.status = vec![200, 204])],
            "step register of 1: expected HTTP 200 or 204, got HTTP 201",
        ),
        (
            vec![stranger(&|step| step.expect.push(("$.n".into(), json!("two"))))],
            "step register of 1: expected $.n to be \"two\", got 1.0",
        ),
        (
            vec![stranger(&|step| step.expect.push(("$.gone".into(), json!(1))))],
            "step register of 1: expected $.gone to be 1, got nothing there",
        ),
        (
            vec![stranger(&|step| {
                step.capture.insert("x".into(), "$.missing".into());
            })],
            "step register of 1: expected a x at $.missing, got",
        ),
        (
            vec![register(at), FlowStep { body: Some("else".into()), ..me(at) }],
            "step me of 2: expected the body `else`, got `it is you, ***`",
        ),
        (
            vec![step("home", request("GET", format!("http://{}/", closed_port().await)))],
            "step home of 1: do step home",
        ),
    ];
    for (steps, wanted) in table {
        let failed = flow(steps).await;
        assert_eq!(failed.verdict, Verdict::Fail);
        assert!(failed.detail.starts_with(wanted), "{} instead of {wanted}", failed.detail);
        assert_eq!(requests(&failed).1, 1);
    }
}

#[tokio::test]
async fn a_journey_ends_in_time_and_a_wrong_one_does_not_begin() {
    let silent = silent_server().await;
    let steps = [step("wait", request("GET", format!("http://{silent}/")))];
    let slow = FlowProbe::new("journey", &steps, Duration::from_millis(300), None).unwrap();
    assert_eq!(slow.measure(&nothing()).await.unwrap().verdict, Verdict::Fail);
    let mut wrong = steps[0].clone();
    wrong.expect = vec![("not a path".into(), json!(1))];
    assert_eq!(FlowProbe::new("journey", &[wrong], PATIENCE, None).unwrap_err().kind, FaultKind::Plan);
    let mut wrong = steps[0].clone();
    wrong.request.url = "http://x/{{ never_captured }}".into();
    let broken = FlowProbe::new("journey", &[wrong], PATIENCE, None).unwrap();
    assert_eq!(broken.measure(&nothing()).await.unwrap_err().kind, FaultKind::Plan);
}
