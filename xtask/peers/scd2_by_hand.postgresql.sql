-- What a careful person writes for two loads of a dimension: one statement each for what changed,
-- what is gone and what is new, in one transaction.
begin;
create temp table given (code text, class text, name text, fee double precision, kind text) on commit drop;
\copy given from pstdin csv header
analyze given;
create temp table changed on commit drop as
  select given.*, d.fund_key as old from given
  left join by_hand d on d.code = given.code and d.class = given.class and d.is_current
  where d.fund_key is null or (given.name, given.fee, given.kind) is distinct from (d.name, d.fee, d.kind);
update by_hand d set end_date = now(), is_current = false from changed where d.fund_key = changed.old;
update by_hand d set end_date = now(), is_current = false
  where is_current and not exists (select 1 from given where given.code = d.code and given.class = d.class);
insert into by_hand (code, class, name, fee, kind, effective_date, is_current)
  select code, class, name, fee, kind, now(), true from changed;
commit;
