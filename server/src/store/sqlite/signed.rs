//! Sizes at which the journal was signed.

use diesel::prelude::*;
use diesel::sql_types::BigInt;

use crate::domain::clock::Micros;
use crate::store::StoreError;
use crate::store::schema::signed;

/// Of older sizes, the last of each day, the newest days first.
const OF_DAYS: &str =
    "SELECT max(size) AS size FROM signed WHERE size < ? GROUP BY time / 86400000000 ORDER BY 1 DESC LIMIT ?";

#[derive(QueryableByName)]
struct Size {
    #[diesel(sql_type = BigInt)]
    size: i64,
}

/// Notes sizes.
pub(super) fn write(connection: &mut SqliteConnection, sizes: &[(i64, Micros)]) -> Result<(), StoreError> {
    for (size, time) in sizes {
        diesel::insert_or_ignore_into(signed::table)
            .values((signed::size.eq(size), signed::time.eq(time)))
            .execute(connection)?;
    }
    Ok(())
}

/// Sizes below `before`, ascending, at most `at_most`: half of them the newest ones, the rest the last of each day before these.
pub(super) fn sizes(connection: &mut SqliteConnection, before: u64, at_most: usize) -> Result<Vec<u64>, StoreError> {
    let limit = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let before = i64::try_from(before).unwrap_or(i64::MAX);
    let mut newest: Vec<i64> = signed::table
        .filter(signed::size.lt(before))
        .order(signed::size.desc())
        .limit(limit(at_most.div_ceil(2)))
        .select(signed::size)
        .load(connection)?;
    let of_days: Vec<Size> = diesel::sql_query(OF_DAYS)
        .bind::<BigInt, _>(newest.last().copied().unwrap_or_default())
        .bind::<BigInt, _>(limit(at_most - newest.len()))
        .load(connection)?;
    newest.extend(of_days.into_iter().map(|row| row.size));
    newest.reverse();
    // An empty journal is no older one to be compared with.
    Ok(newest
        .into_iter()
        .filter_map(|size| u64::try_from(size).ok())
        .filter(|size| *size > 0)
        .collect())
}

#[cfg(test)]
mod tests {
    use diesel::connection::SimpleConnection as _;

    use super::*;

    const DAY: i64 = 86_400_000_000;

    fn database() -> SqliteConnection {
        let mut connection = SqliteConnection::establish(":memory:").unwrap();
        connection
            .batch_execute(include_str!("../../../migrations/sqlite/20261123100000_record/up.sql"))
            .unwrap();
        connection
    }

    fn migrate(connection: &mut SqliteConnection) {
        connection
            .batch_execute(include_str!("../../../migrations/sqlite/20261123190000_signed/up.sql"))
            .unwrap();
    }

    #[test]
    fn the_newest_and_one_of_each_day_are_told() {
        let mut connection = database();
        migrate(&mut connection);
        // Ten a day, for 20 days.
        let all: Vec<(i64, i64)> = (1..=200).map(|size| (size, (size - 1) / 10 * DAY + size)).collect();
        write(&mut connection, &all).unwrap();
        write(&mut connection, &all).unwrap();
        assert_eq!(
            sizes(&mut connection, 201, 1000).unwrap(),
            (1..=200).collect::<Vec<u64>>()
        );
        assert_eq!(
            sizes(&mut connection, 200, 10).unwrap(),
            [160, 170, 180, 190, 194, 195, 196, 197, 198, 199]
        );
        assert_eq!(sizes(&mut connection, 5, 10).unwrap(), [1, 2, 3, 4]);
        assert_eq!(sizes(&mut connection, 5, 0).unwrap(), [0_u64; 0]);
        assert_eq!(sizes(&mut connection, 1, 10).unwrap(), [0_u64; 0]);
        assert_eq!(sizes(&mut connection, u64::MAX, 1).unwrap(), [200]);
    }

    #[test]
    fn the_newest_checkpoint_from_before_there_was_a_table_is_in_it() {
        let mut connection = database();
        connection
            .batch_execute("INSERT INTO checkpoint VALUES (1, 'greffe/00ff' || char(10) || '20852163' || char(10) || 'Wlpa' || char(10));")
            .unwrap();
        migrate(&mut connection);
        assert_eq!(sizes(&mut connection, u64::MAX, 10).unwrap(), [20_852_163]);
    }
}
