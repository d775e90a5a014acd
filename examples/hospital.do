* The textbook session on patients of doctors in hospitals, on the bundled hospital data.
*     melogit do examples/hospital.do
version 17
set more off
insheet using hospital, clear

* text becomes labelled numbers
foreach i of varlist familyhx smokinghx sex cancerstage school {
  encode `i', generate(`i'2)
  drop `i'
  rename `i'2 `i'
}

* a first look
summarize il6 crp lengthofstay experience
tab1 remission cancerstage lengthofstay
correlate il6 crp lengthofstay experience

* patients of the same doctor resemble each other
melogit remission il6 crp i.cancerstage lengthofstay experience || did:
estimates store m1
melogit, or
estat icc
testparm i.cancerstage
lincom 3.cancerstage - 2.cancerstage, or

* what a stay of 1 to 10 days would mean, averaged over patients and doctors
margins, at(lengthofstay=(1(1)10)) vsquish

* doctors of the same hospital resemble each other, too
melogit remission age lengthofstay i.familyhx il6 crp i.cancerstage experience ///
    || hid: || did:
estimates store m2
predict re*, reffects
summarize re1 re2

* the effect of the length of stay differs between doctors
meqrlogit remission age lengthofstay i.familyhx il6 crp i.cancerstage experience ///
    || hid: || did: lengthofstay
estat sd
