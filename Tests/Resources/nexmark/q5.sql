-- A hopping window starts every 2 seconds from the epoch on; each bid is in the five that reach it.
with counts as (
  select auction, count(*) as num, starttime
  from bid, generate_series(
    date_bin('2 seconds', date_time, '1970-01-01Z') - interval '8 seconds',
    date_bin('2 seconds', date_time, '1970-01-01Z'), interval '2 seconds') starttime
  group by auction, starttime
), most as (select starttime, max(num) as maxn from counts group by starttime)
select c.auction, c.num, c.starttime as window_start, c.starttime + interval '10 seconds' as window_end
from counts c join most m on c.starttime = m.starttime and c.num >= m.maxn
