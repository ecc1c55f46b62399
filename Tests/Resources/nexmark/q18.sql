-- Where the time is the same, SQL leaves open which bid it is; here the remaining columns decide.
select auction, bidder, price, channel, url, date_time, extra
from (
  select *, row_number() over (
    partition by bidder, auction order by date_time desc, price, channel collate "C", url collate "C", extra collate "C"
  ) as rank_number
  from bid
) ranked
where rank_number <= 1
