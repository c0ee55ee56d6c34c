-- What a careful person writes for two loads of a dimension: one statement each for what changed,
-- what is gone and what is new, in one transaction.
begin;
create temp table given (code text, class text, name text, fee real, kind text);
.import --csv --skip 1 --schema temp /dev/stdin given
create index temp.given_keys on given (code, class);
create temp table changed as
  select given.*, d.fund_key as old from given
  left join by_hand d on d.code = given.code and d.class = given.class and d.is_current
  where d.fund_key is null or (given.name, given.fee, given.kind) is not (d.name, d.fee, d.kind);
update by_hand set end_date = datetime('now'), is_current = 0 where fund_key in (select old from changed);
update by_hand set end_date = datetime('now'), is_current = 0
  where is_current and not exists
    (select 1 from given where given.code = by_hand.code and given.class = by_hand.class);
insert into by_hand (code, class, name, fee, kind, effective_date, is_current)
  select code, class, name, fee, kind, datetime('now'), 1 from changed;
commit;
