//! `kill -9` at random moments under load.

use std::time::Duration;

use crate::support::load::Ledger;
use crate::support::{Server, setting, within};

#[tokio::test]
async fn nothing_acknowledged_or_delivered_is_lost_when_the_server_is_killed_under_load() {
    let rounds = setting("GREFFE_TEST_ROUNDS", 6);
    let mut server = Server::start(&[]).await;
    let users = server.users("person", 4).await;
    let ledger = Ledger::new(&server.general().await);
    let mut acknowledged = 0;
    for round in 0..rounds {
        let mut tasks = tokio::task::JoinSet::new();
        for user in &users {
            let user = user.over(server.channel().await);
            tasks.spawn(ledger.clone().load(user.clone(), usize::MAX));
            tasks.spawn(ledger.clone().watch(user));
        }
        // A moment that no two rounds share: while streams open, in the middle of the load, or after many commits.
        let goal = acknowledged + usize::try_from(round * 37 % 301).expect("a small number");
        within("some load", async {
            while ledger.acknowledged() < goal {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        tokio::time::sleep(Duration::from_micros(round * 7919 % 20_000)).await;
        server.kill_9().await;
        within("the end of the load", tasks.join_all()).await;

        server.spawn().await.expect("start-up after a crash needs no hand");
        for user in &users {
            ledger.send_unanswered(&user.over(server.channel().await)).await.unwrap();
        }
        let problems = ledger.compare(&users[0].over(server.channel().await)).await.unwrap();
        assert_eq!(problems, Vec::<String>::new(), "round {round}");
        acknowledged = ledger.acknowledged();
    }
    assert!(ledger.delivered() > 0);
    let problems = ledger.compare_all(&users[0].over(server.channel().await)).await;
    assert_eq!(problems, Vec::<String>::new());
    crate::journal::agrees(&mut server, &[]).await;
}
