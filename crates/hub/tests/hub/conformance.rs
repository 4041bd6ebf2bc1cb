//! Every kind of hub passes the conformance suite.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder() {
    let temp = tempfile::tempdir().unwrap();
    let location = hub::HubLocation::folder(&temp.path().join("hub")).unwrap();
    let registry = hub::open(&location, &hub::testing::no_access()).unwrap();
    let scope = "conformance".parse().unwrap();
    let report = hub::conformance::run(registry, &scope, "a folder").await.unwrap();
    println!("{report}");
    assert!(report.unsupported.is_empty());
    assert_eq!(
        std::fs::read_dir(temp.path().join("hub/tmp")).unwrap().count(),
        0,
        "temporary files are left"
    );
}
