-- What a careful person writes for two loads of a dimension: one statement each for what changed,
-- what is gone and what is new, in one transaction.
start transaction;
create temporary table given (code varchar(20), class varchar(20), name varchar(200), fee double, kind varchar(50),
  primary key (code, class));
load data local infile '/dev/stdin' into table given fields terminated by ',' ignore 1 lines;
create temporary table changed as
  select given.*, d.fund_key as old from given
  left join by_hand d on d.code = given.code and d.class = given.class and d.one
  where d.fund_key is null or not (given.name <=> d.name and given.fee <=> d.fee and given.kind <=> d.kind);
update changed join by_hand d on d.fund_key = changed.old set d.end_date = now(6), d.is_current = false;
update by_hand d left join given on given.code = d.code and given.class = d.class
  set d.end_date = now(6), d.is_current = false where d.is_current and given.code is null;
insert into by_hand (code, class, name, fee, kind, effective_date, is_current)
  select code, class, name, fee, kind, now(6), true from changed;
commit;
