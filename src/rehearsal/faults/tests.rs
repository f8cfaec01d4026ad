use super::*;

fn spec(name: &str, kind: &str, more: &str) -> FaultSpec {
    toml::from_str(&format!("name='{name}'\nabout=''\ntarget='legacy-api'\nkind='{kind}'\n{more}")).unwrap()
}

#[test]
fn the_catalogue_parses_and_waits() {
    let catalogue: Catalogue = toml::from_str(CATALOGUE).unwrap();
    assert!(!catalogue.fault.is_empty());
    assert!(catalogue.fault.iter().all(|fault| !fault.armed));
    let faults = Faults::new(1, &[]);
    assert_eq!(faults.list().len(), catalogue.fault.len());
    assert!(faults.arm("legacy-down", true));
    assert!(!faults.arm("nonsense", true));
    let strike = faults.throw(FaultTarget::LegacyApi, "/", "/", "");
    assert!(matches!(strike.work, Some((FaultWork::Error, _))));
}

#[test]
fn the_same_request_is_struck_twice_at_most_by_all_faults_together() {
    for seed in 0..50 {
        let faults =
            Faults::new(seed, &[spec("a", "error", "ratio=0.9\nper_key=2"), spec("b", "lost", "ratio=0.9\nper_key=2")]);
        for key in ["/x?page=1", "/x?page=2"] {
            let struck = (0..20).filter(|_| faults.throw(FaultTarget::LegacyApi, "/x", key, "").work.is_some()).count();
            assert!(struck <= 2, "seed {seed}: {struck}");
        }
    }
}

#[test]
fn the_seed_decides_and_nothing_else() {
    let pattern = |seed| -> Vec<bool> {
        let faults = Faults::new(seed, &[spec("a", "error", "ratio=0.5")]);
        (0..64).map(|_| faults.throw(FaultTarget::LegacyApi, "/", "k", "").work.is_some()).collect()
    };
    assert_eq!(pattern(3), pattern(3));
    assert_ne!(pattern(3), pattern(4));
    let hits = pattern(3).into_iter().filter(|hit| *hit).count();
    assert!((16..48).contains(&hits), "{hits} of 64");
}

#[test]
fn conditions_hold_a_fault_back() {
    let faults = Faults::new(
        1,
        &[
            spec("switch", "error", "after_switch='1h'"),
            spec("night", "latency", "during_maintenance=true\ndelay='1s'"),
            spec("path", "throttle", "path='/api/'\ncount=1\nretry_after='3s'"),
        ],
    );
    let throw = |path: &str| faults.throw(FaultTarget::LegacyApi, path, path, "");
    assert_eq!(throw("/health"), Strike::default());
    assert_eq!(throw("/api/x").work, Some((FaultWork::Throttle, Duration::from_secs(3))));
    assert_eq!(throw("/api/x").work, None);
    faults.moment(|moment| *moment = Moment { since_switch: Some(Duration::from_secs(3601)), maintenance: true });
    let strike = throw("/health");
    assert_eq!(strike.delay, Duration::from_secs(1));
    assert!(matches!(strike.work, Some((FaultWork::Error, _))));
    assert_eq!(faults.throw(FaultTarget::S3, "/", "/", ""), Strike::default());
}
