-- Where the price is the same, SQL leaves open which bid comes first; here the remaining columns decide.
select *
from (
  select *, row_number() over (
    partition by auction
    order by price desc, bidder, channel collate "C", url collate "C", date_time, extra collate "C") as rank
  from bid
) ranked
where rank <= 10
