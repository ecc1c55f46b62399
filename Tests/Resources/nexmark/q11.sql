-- A bid begins a session when the bidder's one before it is more than 10 seconds old; windows that touch are one, as in Flink.
with starts as (
  select bidder, date_time,
    case when date_time - lag(date_time) over (partition by bidder order by date_time) <= interval '10 seconds'
      then 0 else 1 end as is_start
  from bid
), sessions as (
  select bidder, date_time, sum(is_start) over (partition by bidder order by date_time) as session from starts
)
select bidder, count(*) as bid_count, min(date_time) as window_start, max(date_time) + interval '10 seconds' as window_end
from sessions group by bidder, session
